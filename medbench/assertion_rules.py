"""The rule table of `medbench.assertions`: what makes a mention negated, another person's, past or uncertain.

The algorithm is ConText (Harkema, Dowling, Thornblade, Chapman: "ConText: an algorithm for determining negation,
experiencer, and temporal status from clinical reports", J Biomed Inform 42, 2009); the table is our own. A phrase is
words and signs in lower case; `{a|b|}` is a choice, which may be empty. `<kin>`, `<year>` and `<n>` stand for any
relative, year and number. `<end>` stands for no word: it asks that the sentence or clause is over. The names in
`SHARED` stand for their choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["present", "negated", "family", "historical", "uncertain"]
Direction = Literal["forward", "backward", "both"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What a trigger does.

    Attributes:
        status: What the mentions in its scope become; "present" marks a pseudo-trigger, which does nothing but keep
            its words from triggering anything.
        direction: Where its scope lies.
        phrases: Its triggers, one a line.
        limit: Longest scope in words and signs; 0 means up to the end of the sentence.
        commas: False when a comma ends the scope.
        ended: True when the words say that a past condition is over, so that not even a chronic one is
            taken as present.
        kept_in_course: True when the rule is not used in a hospital course or among diagnoses of this stay: what
            resolved during the stay was treated there, and is coded.
    """

    status: Status
    direction: Direction
    phrases: str
    limit: int = 0
    commas: bool = True
    ended: bool = False
    kept_in_course: bool = False


# Choices that many phrases share, under the name they have there.
SHARED = {
    "<may>": "{may|might|could}",
    "<was>": "{is|are|was|were|be|been|being}",
    "<found>": "{seen|identified|noted|observed|present|found|appreciated|visualized|visualised|detected|evident"
    "|demonstrated|reported|palpable|palpated|felt|heard|elicited|apparent|reproducible}",
    "<and a history of>": "{with|and} {a|} {past|personal|} {medical|} {history|hx} {of|significant for|notable for}",
    "<personal history of>": "{and|} {personal|pathological} {history|hx} {of|,|:|included|includes|significant for|}",
    # What follows a trigger at the end of its clause: "croup is suspected in this child", unlike "is suspected croup".
    "<next>": "{<end>|in|on|at|by|given|and|or|as|because|based|but|with|clinically|however|from|due|since|after|until"
    "|bilaterally}",
}

RULES: tuple[Rule, ...] = (
    # Pseudo-triggers: they look like triggers and are none.
    Rule("present", "both", """
        {no|without} {significant|interval|appreciable|acute|further|real|major|substantial|}{| } {change|changes}
        {no|without} {significant|interval|appreciable|further|real|}{| } {increase|decrease|improvement
            |worsening|relief|response}
        {no|without} {doubt|question|difficulty|difficulties|treatment|incident|help|medication|medications
            |insurance|delay}
        no {insurance|better|sooner|later|matter|need for|indication for|indications for|plans|choice|way
            |one else|more than}
        no {treatment|surgery|intervention|contraindication|contraindications} {for|to}
        no {cause|source|etiology|explanation} {of|for|was|found|}
        no longer {on|able|taking|takes|needs|requires|require|need|using|in}
        no {prior|previous} {study|studies|imaging|exam|comparison|films|records}
        no medications
        not {only|just|merely|simply} {because|due to|}
        not {well|adequately|fully|completely|optimally|yet|been|very|}{| } {controlled|compliant|improving
            |improved|improve|responding|responded|respond}
        not {been|very|fully|completely|yet|} {compliant|adherent|resolved|healed|healing|better|tolerate
            |tolerated|displaced}
        not {in|on|at|able|want|wish|wishes|need|require|take|taking|taken|use|using|drink|drive|eat|sleep|work
            |return|go|know|recall|remember|like|only|aware|as|so|much|all|sure why
            |changed|change|enough|well|too|a candidate|seek|get|getting|come|followed|received|receive|require
            |recommended|limited|optimal|ideal}
        {not|'t} {think|believe|feel} {that|}
        gram {-|} negative
        {triple|rh|rhesus|er|pr|her|margin|margins|false|coagulase|lactose} {-|} negative
        her - 2 negative
        false negative
        negative {pressure|margins|balance|energy|thoughts|symptoms|airflow|inspiratory}
        {without|non -} contrast
        rule in
        {day|days|week|weeks|month|months|year|years|hour|hours|yr|wk|hr} {-|} {long|} history of
        {long|longstanding|long - standing|lengthy|extensive smoking|recent|acute|brief|short|several day|day
            |year} history of
        {long|longstanding|long - standing} {hx|h / o} {of|}
        history of {the|} {present|presenting|current} {illness|complaint}
        history {and|&} physical
        {by|per|from|good|poor|limited|detailed|no further|social|clinical|natural|medication|smoking|further
            |obtain|obtained|reliable} history
        {prior|previous} to
        {past|last|previous|prior} {few|several|couple of|<n>|one|two|three|four|five|six|} {-|} {day|days|week
            |weeks|weekend
            |month|months|year|years|hours|night|nights}
        {compared|comparison|compare} {with|to} {the|} {prior|previous|old}
        {prior|previous} {study|studies|exam|examination|examinations|ct|mri|film|films|radiograph|radiographs
            |imaging|scan|x|chest|note|notes|visit|visits|records|report}
        {year|years|month|months|week|weeks|day|days|yr|yo|y / o} {-|} old
        {year|years} old
        <n> {yo|y / o|y . o .}
        old {age|man|woman|male|female|chart|records|lady|gentleman}
        {as|even|ask|asked|wonder|see|know} if
        if {any|not|possible|needed|so|indicated|tolerated|necessary|applicable}
        {high|low|moderate|at} - risk
        {considered|deemed|felt to be} {a|} {low|acceptable} risk
        {with|by|per|from|to|for|told|tells|called} {his|her|the|their|patient 's|pt 's|both|}{| } <kin>
        {<kin>} {of|'s} {patient|pt|the patient|child}
        {possible|likely} {to|that he will|that she will}
        as likely
        {how|if|as|where|when|wherever|whenever|as soon as|everything} possible
        most likely to
        screening {colonoscopy|mammogram|mammography|endoscopy|labs|lab|tests}
        {question|questions} {were|was|and|answered}
        vaccine {status|card|records}
        suspect device
        return{s|ed|ing|} to {the|} {hospital|clinic|office|ed|er} {for|with|in} {follow|further|a|suture|his|her}
        due to
        {etiology|cause|source|origin|reason|mechanism|significance} {is|was|remains|are} {unclear|uncertain}
        {no|} concern{s|} {were|was|at this time}
        {worried|concerned|nervous|anxious} {about|for} {her|his|their|your}
        {patient|family|mother|father} {had|has|have|with} {no|any} {concerns|questions}
    """),
    # Negation.
    Rule("negated", "forward", """
        no
        non {-|} {tender|}{| } to
        no {evidence|sign|signs|indication|indications|suggestion|suspicion|mention|hint|finding|findings
            |symptom|symptoms} {of|for|that|to suggest}
        no {signs or symptoms|overt signs|obvious signs|clinical signs|clinical evidence|radiographic evidence} of
        no {known|prior|previous|past|personal|significant|reported|other|} {history|hx|h / o} of
        no {family|fam} {history|hx} of
        {no|not} {recurrence|recurrences|episodes|complaints|complaint|recurrent episodes} of
        no {longer|more} {has|have|having|any|complains of|with|}
        no reason to {suspect|believe|think}
        nothing to {suggest|indicate}
        {denies|denied|denying|deny} {any|having|having any|ever having|that he has|that she has|a
            |} {history of|hx of|}
        {without|w / o|w / out} {any|} {evidence|sign|signs|symptoms|history|complaints|complaint|associated} {of|}
        {without|w / o|w / out} {any|}
        {negative|neg} {,|} {for|including|specifically|in particular} {for|}
        {unable|not able} to {appreciate|palpate|identify|see|find|detect|demonstrate|elicit}
        {nor|neither|cannot see|none of the|none of}
        never {had|has had|developed|experienced|suffered|been diagnosed with}
        unlikely {that|to be|to represent|to have}
        {is|was|seems|appears} {very|} unlikely {that|to be|to represent|to have}
        {absence|lack|absense} of
        {lacks|lacked|lacking}
        {free|clear} of
        {unremarkable|nonsignificant|noncontributory} for
        {ruled out|r / o ' d} for
        {rules|ruled|ruling} out
        {exclude|excludes|excluded|excluding the presence of}
        {failed|fails|failing} to {reveal|show|demonstrate|identify|find|disclose}
        {not|'t} {currently|appear to|seem to|really|actually|presently|recently|ever|}{| } {have|having|show
            |shown|reveal|demonstrate|complain of|complaining of|report|reporting|endorse|exhibit|suffer from
            |experience|experiencing|describe|display|identify|see|appreciate|admit to|develop|note|notice|feel}
        {not|'t} {currently|yet|ever|}{| } {had|experienced|noticed|noted|developed|seen|identified|appreciated
            |demonstrated} any
        {not|'t} {ever|yet|} {had|experienced|developed|noticed}
        not {to have|found to have|known to have|associated with|accompanied by|consistent with|suggestive of
            |indicative of|felt to be|thought to be|believed to be|any}
        {rather than|instead of|as opposed to}
        {test|tested|tests|screen|screened} negative for
        not {due|secondary|related} to
        no one {has|had|} {ever|} told {him|her|me|the patient|them} {that|of|about} {he has|she has|}
        ( - )
    """),
    Rule("negated", "forward", "{not|never|isn 't|wasn 't|aren 't|weren 't|absent}", limit=4, commas=False),
    Rule("negated", "forward", "negative", limit=3, commas=False),
    Rule("negated", "backward", """
        <was> denied <end>
        {<was>|has been|have been} ruled out
        {<was>|has been|have been|effectively|essentially|} {excluded} {by|on|with|<end>}
        ruled out {by|on|with|<end>}
        <was> absent <next>
        absent <end>
        <was> not a {concern|problem|consideration|possibility|issue|likely explanation}
        which {he|she|the patient|patient|pt} {denies|denied}
        {denies|denied} {this|that|it|these|them|all of these|any of these} <end>
        {is|are|was|were} no longer {present|seen|noted|visible|an issue|a problem|evident|appreciated}
        {not|'t} {been|be|clearly|definitely|} <found>
        {not|'t} {occur|occurred|develop|present|exist} <end>
        {<was>|appears|seems|felt to be|thought to be|very|most|highly|} unlikely <next>
        {making|make|makes|felt|thought|considered} unlikely
        {: no|: denies|: denied|: none|: negative|: neg|: absent|= no|- no|- none|- denies|- negative} <end>
        {<was>} {negative|none} <end>
        {none|nil} <end>
        denied <end>
    """, limit=14),
    Rule("negated", "backward", "{negative|neg} {by|on|<end>}", limit=3, commas=False),
    # Another person. `<kin>` alone is checked again in `assertions`: relatives also report.
    Rule("family", "forward", """
        {positive|strong|significant|known|extensive|} {family|fam} {medical|} {history|hx} {of|for
            |significant for|positive for|notable for|remarkable for|includes|is|:|-|}
        {fhx|fh|famhx} {of|:|-|+|}
        familial {history|hx} of
        <kin>
        {maternal|paternal} {history|side|family|}
        {family|families} {members|member|relatives} {with|have|has|had}
        {first|second} {-|} degree {relative|relatives}
        relatives
        relative {with|who|had|has}
        {mother|father|dad|mom} 's side
    """),
    Rule("family", "backward", """
        {in} {his|her|the|a|an|both|patient 's|pt 's|one|two|three|multiple|several|many|} {first degree
            |first - degree|older|younger|elder|maternal|paternal|twin|} {<kin>|relatives}
        {runs|run|running} in {the|his|her|} family
        {in|throughout} {the|his|her} family
    """),
    Rule("family", "both", """
        {on|from} {the|his|her|} {maternal|paternal|mother 's|father 's} {side|side of the family}
    """),
    Rule("family", "backward", "{(|- |:}{| }{maternal|paternal|}{| }<kin> {)|,|and|<end>}", limit=5, commas=False),
    # The past.
    Rule("historical", "forward", """
        {past|prior|previous|remote|distant|known|} {medical|} {history|hx|h / o} {of|significant for
            |notable for|remarkable for|includes|including|positive for|is significant for|is notable for
            |is remarkable for|with}
        {past|prior|previous|} {medical|} {history|hx} {of|for|is significant for|notable for|includes}
        {<and a history of>|<personal history of>}
        {h / o|hx|hx of|pmhx|pmh|pmhx of|pmh of|pmh significant for|pmhx significant for|pmhx includes}
        {past|prior|previous|remote} {history|hx}
        previously {diagnosed with|had|suffered|noted to have|known}
    """),
    Rule("historical", "forward", """
        {status {-|} post|s / p|post {-|} op from}
        {previously|formerly} {treated|hospitalized|hospitalised|operated} {for|on|with|}
        {hospitalized|hospitalised|admitted|treated|operated} in <year> {for|with}
        {had been|was previously|has been previously} {treated|hospitalized|hospitalised} for
        {in the past|back in <year>|in <year>|as a child|as an infant|during childhood|in childhood} {,|he|she
            |the patient|pt} {had|suffered|sustained|underwent|was treated for|developed}
        {in the past|back in <year>|in <year>} {,|} {he|she|the patient|pt|patient} {had|suffered|sustained
            |underwent|was treated for|was hospitalized for|developed}
        underwent {resection|excision|removal|repair|ablation} of
    """, ended=True),
    Rule("historical", "forward", """
        {prior|previous|remote|old|healed|childhood|resolved|recovered from|past}
    """, limit=4, commas=False, ended=True),
    Rule("historical", "forward", "{allergic|allergy|allergies|anaphylaxis|intolerant} to", limit=12),
    Rule("historical", "backward", """
        {in the past|as a child|as an infant|as a teenager|in childhood|during childhood|in {his|her} {youth
            |childhood}}
        at {the|} age {of|} <n>
        when {he|she} was {a|} {<n>|young|little|child|teenager|baby|in college|pregnant|younger}
        {during|in|with} {her|a} {last|first|previous|prior|second|third} pregnancy
    """, limit=12, commas=False, ended=True),
    # A date does not say that a chronic condition is over.
    Rule("historical", "backward", """
        {<n>|several|many|few|two|three|four|five|six|ten|some} years {ago|earlier|previously|before|prior}
        years ago
        last year
        {in|during|around} {the|} {early|late|} {<year>|<year> s|<year> ' s}
        in {january|february|march|april|may|june|july|august|september|october|november|december} {of|,|} <year>
        {in|on} <n> / <year>
    """, limit=12, commas=False),
    Rule("historical", "backward", """
        {has|have|had|since|now|completely|fully|spontaneously|also|subsequently|}{| } {resolved|subsided}
        {has|have|had|since|now|completely|fully} cleared
        {has|have|had} {gone away|disappeared|abated|ceased}
        went away
    """, limit=8, ended=True, kept_in_course=True),
    # Doubt, plans, warnings, prevention.
    Rule("uncertain", "forward", """
        {possible|possibly|probable|probably|presumed|presumptive|presumably|suspected|suspect|suspects
            |suspecting|questionable|equivocal|perhaps|maybe}
        {likely|most likely|very likely}
        {rule|rules|ruling|r /} {out|o} {for|}
        {to|please} {rule out|exclude}
        working diagnosis {of|:|is|}
        {looks|look|looked} like
        {cannot|can not|can 't|could not|unable to|not|'t|never} {entirely|completely|definitely|absolutely
            |definitively|fully|} {exclude|rule out}
        {suspicious|suspicion|concern|concerning|concerned|worrisome|worried|question|questions|query
            |possibility|likelihood|probability} {for|of|about|is|regarding|that}
        {worried|concerned|afraid|fearful|anxious|nervous} {about|of|that}
        {fear|fears} of
        {suggests|suggest|suggesting|suggestive of|suggestive but not diagnostic of|not diagnostic of}
        <may> {also|well|still|} {be|have|represent|reflect|indicate|suggest|develop|cause|become|include
            |lead to|be due to|be related to|be secondary to}
        {unclear|uncertain|unsure|not {certain|sure|clear|known}} {if|whether|that|about} {this is
            |he has|she has|}
        not necessarily
        {differential|ddx|differentials} {diagnosis|diagnoses|} {includes|include|included|is|of
            |would include|:|}
        {consider|consideration of|entertained}
        {evaluate|evaluation|eval|assess|assessed|assessment|check|checked|test|tested|testing|look
            |looking|screen|screened|screening|work {-|} up|workup|monitor|monitored|monitoring|watch|observe
            |surveillance|searching} {her|him|them|you|patient|the patient|closely|wound|the wound|labs
            |} for {possible|signs of|signs and symptoms of|evidence of|}
        {screening|screened|prophylaxis|prevention|prophylactic treatment|vaccination|vaccinated|immunization
            |immunized|precautions} {for|of|against|from}
        {prevent|prevents|preventing|avoid|avoiding|protect against}
        {risk|risks|chance|chances|danger|predisposition|susceptibility|susceptible|predisposed
            |likelihood} {of|for|to|factors for|factor for|include|included|including|are|were|explained
            |discussed|such as}
        {risks|risk|complications} {of the procedure|of surgery|of anesthesia|and benefits|and complications
            |and alternatives|, benefits|} {include|including|included|such as}
        {at|increased|high|higher|low|lower} {increased|high|higher|} risk {of|for}
        if
        {should|were} {you|he|she|they|the patient|this patient|there} {develop|have|experience|notice|be}
        {in case|in the event|in the case} of
        {return|returns|come back|call|go|report|seek care|seek attention|notify|contact} {to|} {the|your
            |our|his|her|} {office|clinic|ed|er|emergency room|emergency department|hospital|doctor|physician
            |us|immediately|} {for|if|with any|with worsening}
        {exposure|exposed|contact} to
        {contact with|contacts with} {someone|people|a|} {with|}
        {as needed for|prn for}
        {return|strict return|bleeding|fall|seizure} precautions {for|}
    """),
    Rule("uncertain", "forward", "{?|??|? ? ?|poss|prob}", limit=5),
    Rule("uncertain", "both", "{versus|vs|vs .}", limit=4, commas=False),
    Rule("uncertain", "both", "{prn|p . r . n .}", limit=3, commas=False),
    Rule("uncertain", "backward", """
        {cannot|can not|can 't|could not|not|'t} {be|been|} {entirely|completely|definitely|absolutely
            |fully|} {excluded|ruled out}
        {to be|needs to be|need to be|must be|should be|have to be|has to be} {excluded|ruled out}
        {<was>|remains|remain} {suspected|possible|probable|likely|questionable|presumed|considered
            |uncertain|unclear} <next>
        {<was>|remains|remain} {a possibility|a consideration|a concern|in the differential|in question}
        {<was>} {strongly|highly} suspected <next>
        {a|another|one} possibility
        {: possible|: probable|: likely|, possible|, probable|, suspected|, likely} <end>
        <may> be {considered|possible}
        {?|??} <end>
    """, limit=10),
    Rule("uncertain", "backward", """
        {vaccine|vaccines|vaccination|vaccinations|immunization|immunizations|prophylaxis|prevention
            |precautions|screening|screen}
    """, limit=3, commas=False),
)  # fmt: skip

# Words that end a scope, by the status they end; "all" ends every one.
TERMINATORS: dict[str, str] = {
    "all": """
        {but|however|although|though|yet|nevertheless|nonetheless|whereas|except|except for|apart from
            |aside from|besides}
        {other than|otherwise|in addition to|still has|and now|now with|now has|who presents|who presented
            |presents with|presented with|presenting with|here with}
        {complains of|complaining of|complained of|complaint of|endorses|endorsed|positive for|admits to}
        {trigger event for|reason for|cause for|cause of|causes for|causes of|etiology for|etiology of
            |origin for|origin of|source of}
        ;
    """,
    "negated": """
        {is|are|was|were|has|have|had|does|did|will|remains|remain|appears|appear|continues|persists|shows
            |showed|reveals}
        {revealed|demonstrates|demonstrated|presents|presented|presenting|reports|reported|states|stated
            |complains|notes}
        {found to have|was found|were found|, his|, her|, my|and his|and her}
        {positive|present|possible|possibly|probable|probably|likely|suspected|because|since|until|while|as well as a}
        {which|who|whose|secondary to|given|due to|despite|with known|with a known|mild|moderate|severe|stable
            |residual}
        {status post|s / p|{some|occasional|minimal|slight|intermittent|normal|recent}}
        {patient|pt|he|she|they|there|, the|, it|<personal history of>}
        {, with|<and a history of>|diagnosis of|operated}
        ( + )
    """,
    "family": """
        {patient|pt|the patient|this patient|patient 's|social history|he himself|she herself|presents|presented
            |presenting|admitted|came to|comes to|consulted|consults|referred}
    """,
    "historical": """
        {now|currently|today|presents|presented|presenting|admitted|who|is|are|was|were|has|complains|reports
            |states|notes|on|for}
        {found to have|suffering from|, his|, her|and his|and her|had been|had|until|came|comes|developed
            |develops|coming
            |brought|referred|seen|evaluated|here|without
            |underwent|recently}
    """,
    "before historical": "{who|which|now|currently|today|presents|complains|reports|denies|here|admitted|is}",
    "uncertain": """
        {given|because|because of|in {a|the|this|} {patient|pt|setting} {with|of|}|in the setting of|due to
            |secondary to|given the}
        {patient|pt|in view of|as evidenced by|in light of|take|we will|i will|was|were|started|, it is
            |supported by|based on|confirmed|and are|and were|and showed|and shows|, his
            |, her|and his|and her|and has
            |and had|and is|and she|and he|she has|he has}
    """,
}  # fmt: skip
# Sections whose mentions are not findings of today. Allergies are reactions of the past.
SECTION_STATUS: dict[str, tuple[Status, bool]] = {
    "family history": ("family", False),
    "past medical history": ("historical", False),
    "past surgical history": ("historical", True),
    "allergies": ("historical", True),
    "differential diagnosis": ("uncertain", False),
    "return precautions": ("uncertain", False),
    "immunizations": ("uncertain", False),
    "consent": ("uncertain", False),
}
OF_THIS_STAY = frozenset(["hospital course", "discharge diagnosis", "admission diagnosis", "diagnosis"])
