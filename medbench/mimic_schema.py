"""What MIMIC's tables mean, in SQL: every peculiarity of the two versions is one named line here, and has its test.

The sources are MIMIC-III v1.4 and MIMIC-IV v2.2 / 3.1 with MIMIC-IV-Note v2.2 as PhysioNet documents them. The tables
keep every cell as it stands in the file; the peculiarities are dealt with once, on the way into `note_parts`, `codes`
and `facts`. Prepared statements take no part in table definitions, so the few values that go in are ours or are quoted.
"""

from __future__ import annotations

from collections.abc import Collection

from medbench.mimic_files import NOTES, Table, Version

PROMPT = "Predict the medical codes for the following text: "
"""What stands before the note in a prompt; the completion is the codes, comma-separated."""

# --- columns ---------------------------------------------------------------------------------------------------

# Keys and counters are numbers; everything else stays text: ICD codes, NDCs and GSNs begin with zeros that count.
NUMBERS = frozenset(["row_id", "subject_id", "hadm_id", "icustay_id", "stay_id", "transfer_id", "seq_num", "note_seq"])
# Notes repeat themselves: zstd makes them small in an eighth of the time that DuckDB's own choice takes.
LONG_TEXT = frozenset({"text", "comments"})

# --- notes -----------------------------------------------------------------------------------------------------

# NOTEEVENTS holds fifteen kinds of notes; the category is padded with blanks in some rows ("Physician ").
IS_DISCHARGE = {"iii": "trim(category) = 'Discharge summary'", "iv": "note_type IN ('DS', 'AD')"}
# Physicians marked notes as wrong: ISERROR is '1' there and empty elsewhere, never '0'.
NO_ERROR = {"iii": "iserror IS DISTINCT FROM '1'", "iv": "true"}
# A note outside an admission has no codes to learn from.
IN_ADMISSION = "hadm_id IS NOT NULL"
# Some texts are blank, or blanks only.
HAS_WORDS = r"regexp_matches(text, '\S')"
# Addenda follow the report. In MIMIC-III CHARTTIME and STORETIME of discharge summaries are empty, so days and the
# order in the file decide; in MIMIC-IV note_seq counts the notes of a patient in the order they were charted.
PART_ORDER = {
    "iii": "(lower(trim(description)) = 'addendum'), chartdate, row_id, rowid",
    "iv": "(note_type = 'AD'), note_seq, charttime, note_id, rowid",
}
# A note that stands twice in an admission, word for word, is said once.
SAME_NOTE = "hadm_id, md5(text)"
# Windows line ends and lone carriage returns would be tokens of their own.
ONE_LINE_END = r"replace(replace({text}, chr(13) || chr(10), chr(10)), chr(13), chr(10))"
BETWEEN_PARTS = "chr(10) || chr(10)"

# --- codes -----------------------------------------------------------------------------------------------------

# MIMIC-III has ICD-9 only; MIMIC-IV says 9 or 10 beside every code, and both occur in one admission.
CODE_COLUMN = {"iii": "icd9_code", "iv": "icd_code"}
ICD_VERSION = {"iii": "'9'", "iv": "icd_version"}
# The kind is told by the table: "4711" is a diagnosis of ICD-9 in one and a procedure in the other.
VERSION_NAME = {
    "diagnosis": "CASE {icd} WHEN '9' THEN 'icd9cm' WHEN '10' THEN 'icd10cm' END",
    "procedure": "CASE {icd} WHEN '9' THEN 'icd9pcs' WHEN '10' THEN 'icd10pcs' END",
}
# Early releases pad codes with blanks to seven characters; letters are upper case in the official tables.
CLEAN_CODE = "upper(trim({code}))"
# MIMIC leaves the dot out. It stands after three characters in diagnoses, after four in ICD-9's E codes, after two in
# ICD-9 procedures, nowhere in ICD-10-PCS.
DOT_AFTER = """CASE WHEN version = 'icd10pcs' THEN 7 WHEN version = 'icd9pcs' THEN 2
    WHEN version = 'icd9cm' AND starts_with(code, 'E') THEN 4 ELSE 3 END"""
DOTTED = """CASE WHEN length(code) > dot_after(code, version)
    THEN left(code, dot_after(code, version)) || '.' || substr(code, dot_after(code, version) + 1) ELSE code END"""
# SEQ_NUM ranks the codes of an admission; where it is empty the code comes last, in alphabetical order.
CODE_ORDER = "seq_num NULLS LAST, label"

# --- patients --------------------------------------------------------------------------------------------------

# Patients over 89 were given a date of birth 300 years back (MIMIC-III) or the age 91 (MIMIC-IV): 90 means 90 or more.
AGE = {
    "iii": "least(date_sub('year', try_cast(dob AS TIMESTAMP), try_cast(admittime AS TIMESTAMP)), 90)",
    "iv": "least(try_cast(anchor_age AS BIGINT) + year(try_cast(admittime AS TIMESTAMP))"
    " - try_cast(anchor_year AS BIGINT), 90)",
}


def quoted(text: str) -> str:
    """Return text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def name_of(identifier: str) -> str:
    """Return a column's name as an SQL identifier."""
    return '"' + identifier.replace('"', '""') + '"'


def rows_of(table: Table, pipe: str) -> str:
    """Return the table function that reads a file whose columns are known: nothing is guessed, no cell is a number."""
    columns = ", ".join(f"{quoted(column)}: 'VARCHAR'" for column in table.columns)
    how = "header = true, delim = ',', quote = '\"', escape = '\"', max_line_size = 16000000, auto_detect = false"
    return f"read_csv({quoted(pipe)}, {how}, columns = {{{columns}}})"


def made(table: Table) -> str:
    """Return the definition of an empty table for a file."""
    kinds = {column: "BIGINT" if column in NUMBERS else "VARCHAR" for column in table.columns}
    packed = {column: " USING COMPRESSION zstd" if column in LONG_TEXT else "" for column in table.columns}
    columns = ", ".join(f"{name_of(column)} {kinds[column]}{packed[column]}" for column in table.columns)
    return f"CREATE TABLE {table.name} ({columns})"


def filled(table: Table, pipe: str) -> str:
    """Return the statement that puts the rows of the chosen patients into their table.

    Dictionaries name no patient and are taken whole.
    """
    cells = ", ".join(
        f"CAST({name_of(column)} AS BIGINT)" if column in NUMBERS else name_of(column) for column in table.columns
    )
    whose = "CAST(subject_id AS BIGINT) IN (SELECT subject_id FROM chosen)" if "subject_id" in table.columns else "true"
    return f"INSERT INTO {table.name} SELECT {cells} FROM {rows_of(table, pipe)} WHERE {whose}"


def is_note(version: Version) -> str:
    """Return the condition that makes a row of the notes' table a usable discharge note."""
    return " AND ".join((IS_DISCHARGE[version], NO_ERROR[version], IN_ADMISSION, HAS_WORDS))


def choose(patients: int | None, seed: int) -> str:
    """Return the statement that chooses patients: those with discharge notes first, in an order drawn from the seed.

    The lowest ids would be no fair draw: in MIMIC-III they belong to the first years. md5 draws the same everywhere.
    """
    how_many = "" if patients is None else f"LIMIT {int(patients)}"
    return f"""CREATE TABLE chosen AS SELECT subject_id, subject_id IN (SELECT subject_id FROM noted) AS has_note
        FROM everybody ORDER BY has_note DESC, md5('{int(seed)}:' || subject_id), subject_id {how_many}"""


def note_parts(version: Version, present: bool) -> list[str]:
    """Return statements for `note_parts`, the places of the usable notes, and `notes`, one text per admission."""
    empty = "SELECT NULL::BIGINT AS source_row, NULL::BIGINT AS hadm_id, NULL::BIGINT AS subject_id"
    if not present:
        return [
            f"CREATE TABLE note_parts AS {empty}, NULL::BIGINT AS position, NULL::BIGINT AS parts LIMIT 0",
            "CREATE VIEW notes AS SELECT hadm_id, subject_id, parts, NULL::VARCHAR AS text FROM note_parts",
        ]
    order, table = PART_ORDER[version], NOTES[version]
    text = ONE_LINE_END.format(text="n.text")
    return [
        f"""CREATE TABLE note_parts AS
            WITH once AS (
                SELECT rowid AS source_row, hadm_id, subject_id, row_number() OVER (ORDER BY {order}) AS place
                FROM {table} WHERE {is_note(version)}
                QUALIFY row_number() OVER (PARTITION BY {SAME_NOTE} ORDER BY {order}) = 1)
            SELECT source_row, hadm_id, subject_id,
                row_number() OVER (PARTITION BY hadm_id ORDER BY place) AS position,
                count(*) OVER (PARTITION BY hadm_id) AS parts
            FROM once""",
        f"""CREATE VIEW notes AS
            SELECT p.hadm_id, p.subject_id, p.parts, {text} AS text
            FROM {table} n JOIN note_parts p ON n.rowid = p.source_row WHERE p.parts = 1
            UNION ALL
            SELECT p.hadm_id, any_value(p.subject_id), any_value(p.parts),
                string_agg({text}, {BETWEEN_PARTS} ORDER BY p.position)
            FROM {table} n JOIN note_parts p ON n.rowid = p.source_row WHERE p.parts > 1 GROUP BY p.hadm_id""",
    ]


def codes(version: Version, tables: Collection[str]) -> list[str]:
    """Return statements for `codes` (one row per admission and code, dotted, with its text where one is known)."""
    listed = " UNION ALL ".join(_listed(version, kind, table) for kind, table in KINDS.items())
    titles = [_titles(version, kind, f"d_icd_{table}") for kind, table in DICTIONARIES.items()]
    there = [sql for sql, table in zip(titles, DICTIONARIES.values(), strict=True) if f"d_icd_{table}" in tables]
    nothing = "SELECT NULL::VARCHAR AS label, NULL::VARCHAR AS title LIMIT 0"
    return [
        f"CREATE MACRO dot_after(code, version) AS {DOT_AFTER}",
        f"CREATE MACRO dotted(code, version) AS {DOTTED}",
        f"CREATE VIEW listed AS {listed}",
        # The dictionaries lack codes that are used (MIMIC-III: 719.70 and others): the code stays, without a text.
        f"""CREATE TABLE titles AS SELECT label, any_value(title) AS title
            FROM ({" UNION ALL ".join(there) or nothing}) GROUP BY label""",
        """CREATE TABLE codes AS
            SELECT subject_id, hadm_id, kind, version, seq_num, dotted(code, version) AS code,
                version || ':' || dotted(code, version) AS label, titles.title
            FROM listed LEFT JOIN titles ON titles.label = version || ':' || dotted(code, version)
            WHERE code <> '' AND version IS NOT NULL AND hadm_id IS NOT NULL
            QUALIFY row_number() OVER (PARTITION BY hadm_id, version, code ORDER BY seq_num NULLS LAST) = 1""",
        *(
            f"CREATE VIEW {view} AS SELECT * EXCLUDE (kind) FROM codes WHERE kind = '{kind}'"
            for kind, view in VIEWS.items()
        ),
        f"""CREATE VIEW admission_codes AS SELECT hadm_id, any_value(subject_id) AS subject_id,
                coalesce(list(code ORDER BY {CODE_ORDER}) FILTER (kind = 'diagnosis'), []) AS diagnoses,
                coalesce(list(code ORDER BY {CODE_ORDER}) FILTER (kind = 'procedure'), []) AS procedures,
                list(label ORDER BY kind, {CODE_ORDER}) AS labels
            FROM codes GROUP BY hadm_id""",
    ]


KINDS = {"diagnosis": "diagnoses_icd", "procedure": "procedures_icd"}
DICTIONARIES = {"diagnosis": "diagnoses", "procedure": "procedures"}
VIEWS = {"diagnosis": "diagnoses", "procedure": "procedures"}


def _listed(version: Version, kind: str, table: str) -> str:
    code = CLEAN_CODE.format(code=CODE_COLUMN[version])
    named = VERSION_NAME[kind].format(icd=ICD_VERSION[version])
    return f"SELECT subject_id, hadm_id, '{kind}' AS kind, {named} AS version, seq_num, {code} AS code FROM {table}"


def _titles(version: Version, kind: str, table: str) -> str:
    code = CLEAN_CODE.format(code=CODE_COLUMN[version])
    named = VERSION_NAME[kind].format(icd=ICD_VERSION[version])
    return f"""SELECT version || ':' || dotted(code, version) AS label, long_title AS title
        FROM (SELECT {code} AS code, {named} AS version, long_title FROM {table})"""


def draw_splits(seed: int) -> str:
    """Return the statement that deals patients out, 80/10/10; those with notes apart from those without."""
    return f"""CREATE TABLE splits AS
        WITH ranked AS (
            SELECT subject_id, noted,
                row_number() OVER (PARTITION BY noted ORDER BY md5('{int(seed)}:split:' || subject_id)) - 1 AS place,
                count(*) OVER (PARTITION BY noted) AS n
            FROM (SELECT subject_id, subject_id IN (SELECT subject_id FROM note_parts) AS noted FROM chosen))
        SELECT DISTINCT a.subject_id, a.hadm_id,
            CASE WHEN place < round(0.8 * n) THEN 'train' WHEN place < round(0.9 * n) THEN 'validation' ELSE 'test' END
            AS split
        FROM ranked JOIN admissions a USING (subject_id)"""


def facts(version: Version) -> list[str]:
    """Return statements for `facts` (patient, codes and note of every admission with a note), its splits and pairs."""
    return [
        """CREATE TABLE facts (hadm_id BIGINT, subject_id BIGINT, gender VARCHAR, age BIGINT, split VARCHAR,
            parts BIGINT, diagnoses VARCHAR[], procedures VARCHAR[], labels VARCHAR[],
            text VARCHAR USING COMPRESSION zstd)""",
        f"""INSERT INTO facts SELECT n.hadm_id, n.subject_id, p.gender, p.age, s.split, n.parts,
                coalesce(c.diagnoses, []), coalesce(c.procedures, []), coalesce(c.labels, []), n.text
            FROM notes n
            LEFT JOIN (SELECT hadm_id, any_value(gender) AS gender, any_value({AGE[version]}) AS age
                FROM admissions JOIN patients USING (subject_id) GROUP BY hadm_id) p ON p.hadm_id = n.hadm_id
            LEFT JOIN splits s ON s.hadm_id = n.hadm_id
            LEFT JOIN admission_codes c ON c.hadm_id = n.hadm_id""",
        *(
            f"CREATE VIEW {split} AS SELECT * EXCLUDE (split) FROM facts WHERE split = '{split}'"
            for split in ("train", "validation", "test")
        ),
        f"""CREATE VIEW pairs AS SELECT hadm_id, subject_id, split, {quoted(PROMPT)} || text AS prompt,
                array_to_string(list_concat(diagnoses, procedures), ', ') AS completion
            FROM facts WHERE len(labels) > 0""",
    ]
