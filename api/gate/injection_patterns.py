"""The patterns by which instruction-like text is recognised. Each takes linear time: every repetition is bounded.

They are kept to what ordinary business mail does not say; tests/unit/gate/test_injection.py measures both sides.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple


class Pattern(NamedTuple):
    """needs: parts in lower case of which one is in every text that matches; a text without them is passed over."""

    needs: tuple[str, ...]
    regex: re.Pattern[str]

    def find(self, text: str, lowered: str) -> Iterator[tuple[int, int]]:
        if any(part in lowered for part in self.needs):
            yield from (match.span() for match in self.regex.finditer(text))


def _pattern(needs: str, pattern: str) -> Pattern:
    return Pattern(tuple(needs.split("|")), re.compile(pattern, re.IGNORECASE | re.MULTILINE))


#: Up to so many words between two others, in one sentence.
_FEW = r"(?:[ \t,'\"-]{1,3}[^\W_]{1,20}){0,6}[ \t,'\"-]{1,3}"
_AI = (
    r"(?:a\.?i\.?|llm|language model|assistant|chat ?bot|bot|copilot|gpt|claude|gemini"
    r"|(?:ai|autonomous|automated|virtual|e-?mail|support|llm|software)[ -]agents?|ki|ki-assistent\w{0,3}"
    r"|assistent|ia|asistente)"
)
_MENTIONS = "ai|a.i|llm|model|assist|bot|copilot|gpt|claude|gemini|agent|ki|ia|asist"
_DEEDS = (
    r"(?:send|forward|e-?mail|pay|transfer|wire|refund|delete|remove|cancel|update|change|add|share|post"
    r"|upload|click|open|visit"
    r"|approve|execute|run|call|invoke|book|reply|respond|include|create|grant|export|reveal|print|output"
    r"|ignore|do|use|perform)"
)

#: What asks to break the rules, and what asks to hide it, by kind.
ORDERS: dict[str, tuple[Pattern, ...]] = {
    "override": (
        _pattern(
            "ignor|disregard|forget|overrid|bypass|follow|set aside|skip",
            rf"\b(?:ignor(?:e|ing)|disregard|forget|overrid(?:e|ing)|bypass|do not follow|don't follow"
            rf"|stop following|set aside|skip)"
            rf"{_FEW}(?:instructions?|rules?|prompts?|guidelines?|polic(?:y|ies)|directives?|safeguards?"
            rf"|guard ?rails?"
            r"|restrictions?|constraints|approval process|safety checks?)\b",
        ),
        _pattern("forget", r"\bforget (?:everything|all)(?: (?:you|that|i|above|before|the)\b|[.!])"),
        _pattern(
            "ignorier|vergiss|vergessen|missacht|umgeh|überschreib",
            r"\b(?:ignoriere?n?|vergiss|vergessen sie|missachte?n?|umgehe?n?|überschreibe?n?)"
            rf"{_FEW}(?:anweisung(?:en)?|regeln?|vorgaben?|instruktion(?:en)?|richtlinien?)\b",
        ),
        _pattern(
            "ignor|oubli|ne ti|ne te|contourn",
            r"\b(?:ignore[rz]?|oublie[rz]?|ne tiens pas compte|ne tenez pas compte|contourne[rz]?)"
            rf"{_FEW}(?:instructions?|consignes?|règles?|directives?)\b",
        ),
        _pattern(
            "ignor|olvid|omit|desobedec|esque|dimentica",
            r"\b(?:ignor[ae]|olvid[ae]|omit[ae]|desobedec[ea]|esqueça|dimentica)"
            rf"{_FEW}(?:instruccion(?:es)?|reglas?|indicacion(?:es)?|instruções|regras|istruzioni|regole)\b",
        ),
        _pattern(
            "negeer|vergeet|omzeil",
            rf"\b(?:negeer|vergeet|omzeil){_FEW}(?:instructies?|regels?|opdracht(?:en)?|richtlijn(?:en)?)\b",
        ),
        _pattern(
            "instruction|prompt|directive",
            r"\b(?:new|updated|revised|real|actual) (?:system )?(?:instructions?|prompt|directives?)\s{0,2}:",
        ),
        _pattern(
            "you are now|from now on|pretend|act as",
            r"\b(?:you are now|from now on,? you(?: are| will| must)?|pretend (?:to be|you are)"
            r"|act as (?:if you|an? (?:unrestricted|different|new)))\b",
        ),
        _pattern(
            " mode|jailbreak",
            r"\b(?:developer|debug|god|admin|maintenance|jailbreak|dan) mode\b(?= (?:enabled|activated|on|is))"
            r"|\bjailbreak",
        ),
        _pattern(
            "supersedes|overrides|precedence",
            r"\bthis (?:message|instruction|note|request) (?:overrides|supersedes|takes precedence over)\b",
        ),
        _pattern("prompt", r"\b(?:system prompt|hidden prompt|initial prompt)\b"),
    ),
    "secrecy": (
        _pattern(
            "do not |don't|never|without",
            r"\b(?:do not|don't|never|without) (?:tell|telling|mention|mentioning|inform|informing|notify"
            r"|notifying|reveal|revealing|show|showing"
            r"|alert|alerting|disclose|disclosing|report|reporting)"
            rf"(?:{_FEW})?\b(?:the user|users?|owner|anyone|anybody|humans?|operator|reviewer|them|him|her"
            rf"|your (?:boss|principal|user)|this)\b",
        ),
        _pattern(
            "without",
            r"\bwithout (?:asking|(?:further |any |user )?(?:confirmation|approval|permission)|(?:telling"
            r"|notifying|involving) (?:the|any))\b",
        ),
        _pattern(
            "user",
            r"\b(?:the )?user (?:does not|doesn't|need not|must not|should not|mustn't) (?:need to )?(?:know"
            r"|see|be told)\b",
        ),
        _pattern(
            "keep |hidden|hide ",
            r"\bkeep (?:this|it) (?:a )?(?:secret|hidden|between us)\b|\b(?:hidden|hide (?:this"
            r"|it)) from (?:the )?(?:user|owner|human)",
        ),
        _pattern(
            "sag|erwähn|verrat|informier|meld",
            r"\b(?:sag|sage|sagen sie|erwähne?n?|verrate?n?|informiere?n?|melde?n?)"
            rf"{_FEW}(?:nicht|niemandem|keinem)\b(?={_FEW}(?:nutzer|benutzer|user|weiter|davon|kunden)"
            rf"|[ \t]{{0,3}}[.!\n])",
        ),
        _pattern(
            "ne di|ne parle|ne mention|no dig|no menc|no inf",
            rf"\b(?:ne (?:dis|dites|parle|parlez|mentionne|mentionnez)|no (?:digas|diga|menciones"
            rf"|informes)){_FEW}(?:utilisateur|personne|usuario|nadie)\b",
        ),
    ),
}

#: What belongs between a model and its program, and not into a mail.
ROLES = (
    _pattern("<|", r"<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id|start_header_id|tool)\|?>"),
    _pattern(
        "[inst]|[/inst]|<<sys|<</sys|[system]|[assistant]", r"\[/?INST\]|<</?SYS>>|\[(?:system|assistant)\](?!\()"
    ),
    _pattern("##", r"^[ \t>]{0,8}#{2,4} ?(?:system|instructions?|assistant|response|human)\b[ :]{0,3}$"),
    _pattern(
        "</|<sys|<imp|<inf|<ins|<ass|<adm|<too|<fun|<use|<thi",
        r"</?(?:system|important|information|instructions?|assistant|admin|tool_(?:result|call|response)"
        r"|function_(?:results?|calls?)|user_(?:query|request)|thinking)>",
    ),
    _pattern(
        "system|assistant|developer",
        r"^[ \t>*_]{0,8}(?:system|assistant|developer)(?: (?:message|prompt|note|override|notice"
        r"|alert))?[*_]{0,2}:[ \t]{0,3}"
        r"(?:you|ignore|please|new|the user|from now|do|send|forward|transfer|i |i'|sure|override|important"
        r"|all|security|as an)",
    ),
    _pattern('"role"', r"\"role\"\s{0,3}:\s{0,3}\"(?:system|assistant|tool|developer)\""),
    _pattern("tool|function", r"^[ \t]{0,8}(?:tool|function)[ _-]?(?:result|output|response)s?\s{0,2}[:=]"),
    _pattern(
        "end of|begin of|start of",
        r"\b(?:end|begin|start) of (?:user|system|untrusted|external) (?:input|prompt|message|data|content"
        r"|instructions)\b",
    ),
)

#: What speaks to a machine, or has one do something.
ADDRESSED = (
    _pattern(
        "dear|hey|hello|hi |attention|attn|note|notice|message|instruction|to ",
        rf"\b(?:dear|hey|hello|hi|attention|attn|note (?:to|for)|notice (?:to|for)|message (?:to|for)"
        rf"|instructions? (?:to|for)|to) "
        rf"(?:the |any |all |every |our |an )?{_AI}\b(?! (?:team|manager|director|professor|department"
        rf"|principal|conference|policy|strategy))",
    ),
    _pattern(
        "you|du |sie |since|when|eres|tu es",
        rf"\b(?:if|since|when|as|wenn|falls|da) (?:you(?:'re| are)|du|sie) (?:an? |eine? |the )?{_AI}\b"
        rf"|\b(?:you are|du bist"
        rf"|sie sind|eres|tu es) (?:an? |eine? |the |una |une )?{_AI}\b",
    ),
    _pattern(
        _MENTIONS,
        rf"\b{_AI}(?:s|es)?[,:]? (?:please |must |should |shall |you must |you should |needs? to |has to "
        rf"|bitte )?{_DEEDS}\b",
    ),
    _pattern(
        "tool|function|command",
        r"\b(?:use|call|invoke|run|execute|trigger) (?:the |your )?[`'\"]?[\w.-]{2,40}[`'\"]? (?:tool|function"
        r"|command)\b",
    ),
    _pattern(
        "use |call|invoke",
        r"\b(?:use|call|invoke) (?:the "
        r"|your )?[`'\"]?[a-z]{2,20}(?:[_.][a-z]{2,20}){1,3}[`'\"]?\b(?! (?:address|account"
        r"|domain))(?=\s{0,2}(?:\(|with|to))",
    ),
    _pattern(
        "before|after|while",
        r"\b(?:before|after|while) (?:you )?(?:complet|summari[sz]|process|read|answer|perform)\w{0,6} (?:the "
        r"|this |your |my )?(?:task|request|user|email|message|original)[^.\n]{0,40}"
        rf"\b(?:first|also|must|please|need to|have to) {_DEEDS}",
    ),
    _pattern(
        "task|request",
        r"\b(?:as part of|to (?:complete|continue|finish)) (?:the|your|this) (?:original |current "
        r"|user'?s? )?(?:task|request)s?\b[^.\n]{0,40}\b(?:you )?(?:must|need to|have to|should|first)\b",
    ),
)

#: The oldest trick: new bank details, and hurry.
PAYMENT = (
    _pattern(
        "new|changed|updated|different|revised|amended|alternative",
        r"\b(?:new|changed|updated|different|revised|amended|alternative) (?:bank(?:ing)?|payment|remittance"
        r"|wire|account|iban|beneficiary)"
        r"(?: (?:account|transfer|bank|payment))? (?:details?|accounts?|information|instructions?|number"
        r"|coordinates)\b",
    ),
    _pattern(
        "changed|changing|updated|replaced|moved",
        r"\b(?:bank(?:ing)?|payment|account|iban|wire|remittance) (?:details?|information|instructions?|number"
        r"|account)(?: (?:has|have|was|were|is|are|got))? "
        r"(?:recently |just |now )?(?:been )?(?:changed|changing|updated|replaced|moved)\b",
    ),
    _pattern(
        "chang|switch|mov|updated",
        r"\b(?:changed|changing|switched|switching|moved|moving|updated) (?:our|my"
        r"|the) (?:bank(?:ing)?(?: details?| account)?|iban|account (?:number|details))\b",
    ),
    _pattern(
        "neue|geändert|aktualisiert",
        r"\b(?:neue[nrs]?|geänderte[nr]?|aktualisierte[nr]?) (?:bankverbindung|bankdaten|kontodaten"
        r"|kontoverbindung|iban|kontonummer)\b|\b(?:bankverbindung|kontodaten|iban)[^.\n]{0,20} geändert\b",
    ),
    _pattern(
        "nouve|changement",
        r"\b(?:nouveau (?:rib|compte bancaire|compte)|nouvelles? (?:coordonnées bancaires|domiciliation)"
        r"|changement de (?:rib|compte|coordonnées))\b",
    ),
    _pattern(
        "nuev|cambi",
        r"\b(?:nueva cuenta|nuevos datos) bancari[oa]s?\b|\bcambi(?:o|ado|amos) (?:de |nuestra |nuestros "
        r"|la )?(?:cuenta|datos bancarios)\b",
    ),
    _pattern("nieuw", r"\bnieuwe? (?:rekeningnummer|bankgegevens|bankrekening)\b"),
    _pattern(
        "urgent|immediately|right away|asap|within|before",
        r"\b(?:urgent(?:ly)?|immediately|right away|asap|within (?:the hour|\d{1,2} hours?)|before (?:noon"
        r"|close of business))\b[^.\n]{0,60}\b(?:wire|gift ?cards?|bank transfer|transfer (?:the )?(?:funds"
        r"|money))\b",
    ),
    _pattern(
        "wire|gift|transfer",
        r"\b(?:wire|gift ?cards?|transfer (?:the )?(?:funds|money))\b[^.\n]{0,60}\b(?:urgent(?:ly)?"
        r"|immediately|right away|asap|within (?:the hour|\d{1,2} hours?))\b",
    ),
)

#: All that is looked for in plain words, by the kind of its signal, and what is looked for in rot13.
SPOKEN = {**ORDERS, "role_marker": ROLES, "addressed": ADDRESSED, "payment_change": PAYMENT}
TURNED = {"encoded": ORDERS["override"]}

#: What a reader of a formatted mail does not see. Comments that mail programs read are no secret.
HIDDEN = (
    _pattern("<!--", r"<!--(?!\[if|<!\[endif|\s{0,3}(?:begin|end|start|/)?\s{0,3}[\w./-]{0,30}\s{0,3}-->)[^>]{12,400}"),
    _pattern(
        "style",
        r"<[a-z0-9]{1,10}\s[^<>]{0,300}(?:display\s{0,2}:\s{0,2}none|visibility\s{0,2}:\s{0,2}hidden"
        r"|font-size\s{0,2}:\s{0,2}[01](?:px|pt|em|%)?\s{0,2}[;\"']"
        r"|opacity\s{0,2}:\s{0,2}0(?:\.0\d?)?\s{0,2}[;\"'])[^<>]{0,300}>[^<]{20,400}",
    ),
    _pattern(
        "style",
        r"<[a-z0-9]{1,10}\s[^<>]{0,300}(?<!-)color\s{0,2}:\s{0,2}(?:white"
        r"|#fff(?:fff)?)\b[^<>]{0,60}background(?:-color)?\s{0,2}:\s{0,2}(?:white"
        r"|#fff(?:fff)?)\b[^<>]{0,200}>[^<]{10,400}",
    ),
    _pattern(
        "style",
        r"<[a-z0-9]{1,10}\s[^<>]{0,300}background(?:-color)?\s{0,2}:\s{0,2}(?:white"
        r"|#fff(?:fff)?)\b[^<>]{0,60}(?<!-)color\s{0,2}:\s{0,2}(?:white|#fff(?:fff)?)\b[^<>]{0,200}>[^<]{10,400}",
    ),
)

#: Letters with something between each of them, and what they may say then.
SPACED = re.compile(r"(?<!\w)(?:[A-Za-z][ .\-_*]){8,200}[A-Za-z](?!\w)")
SPACED_WORDS = re.compile(r"ignore|disregard|instruction|override|system|secret|transfer|forward")
