"""Word lists of `medbench.assertions`: relatives and what they do, subjects, beginnings, chronic conditions."""

from __future__ import annotations

import re

# These end a scope as words of a sentence, but not as the subject of the finding itself ("denies that he has ...").
_SUBJECTS_WORDS = (
    "that this it he she they there which the a his her child baby boy girl patient pt who ever has have is"
)
SUBJECTS = frozenset(_SUBJECTS_WORDS.split())
# "Status post fall with rib fractures": the fractures are now.
ENDS_A_PROCEDURE = frozenset(["with", "complicated"])

# Adverbs may stand between the words of a trigger ("was effectively ruled out"); these words in -ly may not.
_NOT_BETWEEN_WORDS = "family likely unlikely possibly probably previously only early daily supply belly presumably"
NOT_BETWEEN = frozenset(_NOT_BETWEEN_WORDS.split())

_KIN_WORDS = (
    "mother father mom mum dad brother brothers sister sisters sibling siblings son sons daughter daughters aunt aunts"
    " uncle uncles cousin cousins nephew niece grandmother grandfather grandparent grandparents grandma grandpa"
    " grandson granddaughter parent parents husband wife spouse fiance girlfriend boyfriend roommate stepfather"
    " stepmother twin halfsister halfbrother"
)
KIN = frozenset(_KIN_WORDS.split())
# A relative who does one of these is telling about the patient.
_TELLS_WORDS = (
    "reports reported reporting states stated says said noticed notices notes noted denies denied brought brings"
    " believes"
    " thinks thought feels called calls describes described observed witnessed found gives gave provides provided told"
    " tells confirms confirmed requests requested wants understands refuses agrees agreed declines declined recalls"
    " relates related mentions mentioned claims claimed worried concerned bedside present endorses endorsed asks asked"
    " took takes helps accompanied came saw sees explained advised educated instructed counseled counselled informed"
    " smokes smoked adds added insists suspects gave administered"
)
TELLS = frozenset(_TELLS_WORDS.split())
# After one of these the relative is the one who has it.
# After one of these the relative only accompanies, or is told: "here with her mother".
BESIDE = frozenset(["with", "by", "per", "from", "to", "for", "told", "and"])
POSSESSIVES = frozenset(["his", "her", "the", "their", "patient", "pt", "'s", "both", "a"])
_SUFFERS_WORDS = (
    "had has have with died dies of from diagnosed suffers suffered suffering : developed deceased alive dead -"
)
SUFFERS = frozenset(_SUFFERS_WORDS.split())

# A date after one of these is when the condition began, not when it was.
BEGINS = frozenset(
    [
        "diagnosed",
        "dx",
        "began",
        "started",
        "onset",
        "since",
        "noticed",
        "established",
        "consulted",
        "admitted",
        "seen",
        "presented",
    ]
)

# Conditions that, once diagnosed, are as a rule still there, and that coders code from a history ("history of
# hypertension"). Cancers, strokes, infarctions and thromboses are not among them: their past has codes of its own.
CHRONIC = re.compile(
    r"\b(?:metasta\w+|(?:multiple )?myeloma|hypertensi(?:on|ve)|htn|diabet\w*|t[12]dm|dm[12]?|iddm|niddm"
    r"|(?:congestive|chronic|systolic"
    r"|diastolic) heart failure"
    r"|heart failure|chf|hfr?[rp]ef|cardiomyopathy|copd|chronic obstructive\b.*|emphysema|chronic bronchitis|asthma\w*"
    r"|bronchiectasis|(?:coronary|peripheral|ischemic|ischaemic) (?:artery|arterial|vascular|heart) disease|cad|pvd|pad"
    r"|atrial fib\w*|a ?fib|afib|chronic kidney|chronic renal|ckd|esrd|end[ -]stage renal|epilep\w*|seizure disorder"
    r"|hypothyroid\w*|hyperthyroid\w*|graves\w*|hyperlipid\w*|hypercholesterol\w*|dyslipid\w*|hld|gerd"
    r"|gastro ?-?o?esophageal reflux\b.*|osteoarthritis|arthritis|rheumatoid\b.*|osteoporosis|osteopenia|dementia"
    r"|alzheimer\w*|parkinson\w*|multiple sclerosis|huntington\w*|hiv|aids|chronic hepatitis|hepatitis [bc]|cirrhosis"
    r"|depressi\w+|anxiety\w*|bipolar\w*|schizo\w+|ptsd|ocd|adhd|autis\w+|obes\w+|sleep apn(?:o?e)a|osa|bph"
    r"|benign prostatic\b.*|glaucoma|gout\w*|lupus|sle|scleroderma|psoria\w+|crohn\w*|ulcerative colitis|celiac\w*"
    r"|irritable bowel\w*|ibs|migraine\w*|neuropath\w*|sickle cell\w*|h(?:a?)emophilia\w*|thalass\w+|cystic fibrosis"
    r"|sarcoid\w*|fibromyalgia|chronic pain|chronic\b.*|insulin dependent\w*|myasthenia\w*|marfan\w*|down syndrome"
    r"|cerebral palsy|pulmonary fibrosis|pulmonary hypertension|macular degeneration|endometriosis|polycystic\b.*|pcos"
    r"|(?:heart|kidney|lung|liver|storage) disease|overweight|hyperuric\w*|essential tremor|lactose intolerance"
    r"|allergic rhinitis|eczema|atopic dermatitis|von willebrand\w*|factor v leiden|hemochromatosis|addison\w*)\b",
    re.IGNORECASE,
)
