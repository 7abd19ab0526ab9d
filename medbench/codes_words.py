"""How words of clinicians and words of code tables are brought to one form: spelling, endings, abbreviations, synonyms.

Two texts that mean the same should share words. The tables below are ours, written from general medical knowledge; they
are small on purpose: what the code tables themselves teach (inclusion terms, ICD-9 titles) is not repeated here.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")
# Words that say nothing about which code is meant.
EMPTY = frozenset(
    (
        *(
            "a",
            "an",
            "and",
            "any",
            "as",
            "at",
            "be",
            "by",
            "for",
            "from",
            "has",
            "have",
            "her",
            "his",
            "in",
            "into",
            "is",
        ),
        *(
            "it",
            "its",
            "of",
            "on",
            "or",
            "our",
            "she",
            "he",
            "that",
            "the",
            "their",
            "this",
            "to",
            "was",
            "were",
            "which",
        ),
        *("who", "patient", "patients", "s"),
    )
)
# Written by clinicians -> written out. Upper-case only ones are in `_CAPITALS`, so that "ms" or "ra" in a word is safe.
ABBREVIATIONS: dict[str, str] = {
    "abd": "abdominal",
    "afib": "atrial fibrillation",
    "aki": "acute kidney failure",
    "bph": "benign prostatic hyperplasia",
    "c.diff": "clostridioides difficile enterocolitis",
    "cad": "coronary artery atherosclerotic heart disease native coronary artery",
    "cabg": "aortocoronary bypass graft",
    "ca": "cancer",
    "chf": "congestive heart failure",
    "ckd": "chronic kidney disease",
    "copd": "chronic obstructive pulmonary disease",
    "cva": "cerebral infarction stroke",
    "dka": "diabetes ketoacidosis",
    "dm": "diabetes mellitus",
    "dm1": "type 1 diabetes mellitus",
    "dm2": "type 2 diabetes mellitus",
    "dvt": "deep vein thrombosis embolism lower extremity",
    "esrd": "end stage renal disease",
    "etoh": "alcohol",
    "fx": "fracture",
    "gerd": "gastro esophageal reflux disease",
    "gi": "gastrointestinal",
    "gib": "gastrointestinal hemorrhage",
    "hfpef": "diastolic heart failure",
    "hfref": "systolic heart failure",
    "hiv": "human immunodeficiency virus hiv",
    "hld": "hyperlipidemia",
    "htn": "essential primary hypertension",
    "ibd": "inflammatory bowel disease",
    "ibs": "irritable bowel syndrome",
    "iddm": "type 1 diabetes mellitus",
    "ild": "interstitial lung disease",
    "lbp": "low back pain",
    "mci": "mild cognitive impairment",
    "mdd": "major depressive disorder",
    "mi": "myocardial infarction",
    "mrsa": "methicillin resistant staphylococcus aureus",
    "niddm": "type 2 diabetes mellitus",
    "nstemi": "non st elevation myocardial infarction",
    "oa": "osteoarthritis",
    "osa": "obstructive sleep apnea",
    "pad": "peripheral vascular disease",
    "pna": "pneumonia unspecified organism",
    "ptsd": "post traumatic stress disorder",
    "pud": "peptic ulcer",
    "pvd": "peripheral vascular disease",
    "rsv": "respiratory syncytial virus",
    "sah": "subarachnoid hemorrhage",
    "sdh": "subdural hemorrhage",
    "sle": "systemic lupus erythematosus",
    "sob": "shortness of breath",
    "stemi": "st elevation myocardial infarction",
    "svt": "supraventricular tachycardia",
    "t1dm": "type 1 diabetes mellitus",
    "t2dm": "type 2 diabetes mellitus",
    "tb": "tuberculosis",
    "tia": "transient cerebral ischemic attack",
    "uri": "upper respiratory infection",
    "uti": "urinary tract infection",
    "vte": "venous thrombosis embolism",
}
_CAPITALS: dict[str, str] = {
    "AF": "atrial fibrillation",
    "ALL": "acute lymphoblastic leukemia",
    "AML": "acute myeloblastic leukemia",
    "CLL": "chronic lymphocytic leukemia",
    "CML": "chronic myeloid leukemia",
    "HF": "heart failure",
    "MS": "multiple sclerosis",
    "PE": "pulmonary embolism",
    "RA": "rheumatoid arthritis",
    "NOS": "unspecified",
    "NEC": "other specified",
}
# Said in several words by patients and clinicians -> what the tables call it.
PHRASES: dict[str, str] = {
    "bed sore": "pressure ulcer",
    "blood clot in the leg": "deep vein thrombosis lower extremity",
    "blood poisoning": "sepsis",
    "broken hip": "fracture of hip",
    "collapsed lung": "pneumothorax",
    "fatty liver": "fatty change of liver",
    "heart attack": "acute myocardial infarction",
    "high blood pressure": "essential primary hypertension",
    "high cholesterol": "hypercholesterolemia",
    "kidney stone": "calculus of kidney",
    "kidney stones": "calculus of kidney",
    "low blood pressure": "hypotension",
    "low blood sugar": "hypoglycemia",
    "mini stroke": "transient cerebral ischemic attack",
    "old mi": "old myocardial infarction",
    "stomach flu": "viral gastroenteritis",
    "sugar diabetes": "diabetes mellitus",
    "water on the brain": "hydrocephalus",
}
PHRASE = re.compile(r"\b(?:" + "|".join(sorted(PHRASES, key=len, reverse=True)) + r")\b", re.IGNORECASE)
# Sets of words that mean the same wherever codes are concerned; the first stands for all.
_SAME = """
kidney renal nephritic nephric
liver hepatic
heart cardiac
lung pulmonary
brain cerebral
stomach gastric
skin cutaneous dermal
eye ocular eyeball
ear aural otic
bladder vesical
breast mammary
uterus uterine womb
blood hematologic
bone osseous
bowel intestine intestinal enteric
muscle muscular
nerve neural
vein venous
artery arterial
nose nasal
mouth oral
tooth teeth dental
throat pharynx pharyngeal
neck cervical
chest thoracic thorax
spine spinal vertebra vertebral
birth delivery childbirth labor
fetus fetal
newborn neonatal neonatorum neonate
child childhood infantile juvenile
cancer carcinoma malignancy malignant
tumor tumour neoplasm neoplastic growth
hemorrhage bleeding hemorrhagic bleed
stone calculus calculi lithiasis
insufficiency incompetence regurgitation
failure decompensation
absence loss missing absent
ulcer ulceration ulcerative
wart verruca
rupture tear torn
swelling edema oedema
pain ache painful
itch pruritus itching
fever pyrexia febrile
jaundice icterus
convulsion seizure fit
deformity malformation anomaly
congenital hereditary inherited
narrowing stenosis stricture
blockage obstruction occlusion obstructed
infection infectious infected infective
inflammation inflammatory
injury trauma traumatic wound
accidental unintentional
intentional deliberate
dependence addiction
abuse misuse
poisoning intoxication toxic overdose
paralysis palsy paralytic
weakness paresis
giddiness dizziness vertigo
drunk drunkenness alcohol alcoholic
tiredness fatigue lethargy
spasm cramp
worm helminth helminthiasis
lump mass
cyst cystic
old sequela sequelae late
unspecified nos undetermined
specified nec
removal excision resection
hypertension hypertensive
diabetes diabetic
depression depressive depressed
anxiety anxious
psychosis psychotic
disease disorder condition
syndrome symptomatic
deficiency deficient lack
enlargement hypertrophy hyperplasia enlarged
pregnancy gestation gestational pregnant
abortion miscarriage
broken fracture
burn corrosion scald
car automobile
vehicle vehicular
fall falling
male man
female woman
leg legs
foot feet
left lt
right rt
bilateral both
type kind
two 2 ii
one 1 i
three 3 iii
four 4 iv
"""
_CANONICAL = {word: line.split()[0] for line in _SAME.strip().splitlines() for word in line.split()}
# British and older spellings, and endings, in this order.
_SPELLINGS = (
    (re.compile(r"haem"), "hem"),
    (re.compile(r"oedem"), "edem"),
    (re.compile(r"oesoph"), "esoph"),
    (re.compile(r"aemia"), "emia"),
    (re.compile(r"oea"), "ea"),
    (re.compile(r"paed"), "ped"),
    (re.compile(r"aeti"), "eti"),
    (re.compile(r"anaes"), "anes"),
    (re.compile(r"gynaec"), "gynec"),
    (re.compile(r"leuc"), "leuk"),
    (re.compile(r"isation"), "ization"),
    (re.compile(r"tumour"), "tumor"),
    (re.compile(r"labour"), "labor"),
    (re.compile(r"fibre"), "fiber"),
)
_ENDINGS = (
    (re.compile(r"(?<=[a-z]{3})ies$"), "y"),
    (re.compile(r"(?<=(?:ss|sh|ch))es$"), ""),
    (re.compile(r"(?<=[a-z]{2}[^siu])s$"), ""),
    (re.compile(r"(?<=[a-z]{4})(?:ally|al)$"), ""),
    (re.compile(r"(?<=[a-z]{4})ic$"), ""),
    (re.compile(r"(?<=[a-z]{4})(?:ing|ed)$"), ""),
)


def words(text: str) -> list[str]:
    """Return the words of a text in their one form, in order; abbreviations written out, empty words left out."""
    found: list[str] = []
    text = PHRASE.sub(lambda phrase: PHRASES[phrase.group().lower()], text)
    for written in re.findall(r"[\w.']+", text):
        longer = _CAPITALS.get(written) or ABBREVIATIONS.get(written.lower())
        found += _plain(longer or written)
    return found


@lru_cache(maxsize=100_000)
def _plain(text: str) -> tuple[str, ...]:
    bare = "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))
    return tuple(_form(word) for word in _WORD.findall(bare) if word not in EMPTY)


def _form(word: str) -> str:
    word = word.split("'")[0]
    for pattern, better in _SPELLINGS:
        word = pattern.sub(better, word)
    if word in _CANONICAL:
        return _CANONICAL[word]
    if len(word) > 4:
        singular = word
        for pattern, ending in _ENDINGS[:3]:
            singular = pattern.sub(ending, word)
            if singular != word:
                break
        if singular in _CANONICAL:
            return _CANONICAL[singular]
        word = singular
        for pattern, ending in _ENDINGS[3:]:
            word = pattern.sub(ending, word)
    return word
