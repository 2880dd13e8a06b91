"""Tells a refusal from an answer, by how the text begins.

`steps` asks it of every response. Careful rather than complete: it needs both a lead ("I'm sorry, but", "As an AI") and
words that decline a task ("I cannot assist"), at the very beginning, so that a letter of apology is an answer; and what
declines one part and then goes on to answer ("As an AI I have no favourites, but here is ...") is an answer too.
"""

import re

_ENOUGH = 200  # characters after a "however" that make an answer; an ideograph counts as _IDEOGRAPH of them
_ENOUGH_ANYHOW = 1000  # without such a word: nobody explains a refusal that long
_IDEOGRAPH = 3

_DO = (
    r"(?:assist|help|fulfil|comply|provid|generat|creat|writ|produc|perform|complet|answer|access|brows|retriev|giv"
    r"|do (?:that|this|so)|support|shar|translat|engag|discuss|offer|view|see|open|play|draw|execut|process|participat"
    r"|find|identif|determin|recommend|tell|predict|summari|analy|interact|satisfy|display|verify|judge|search|condon"
    r"|mak(?:e|ing) (?:any|a |that|this|such|judg|assum|predict)|respond|say|rat|continu|carry out|physically|directly"
    r"|promot|encourag|advis|report|record|develop|design|express|have|listen|read|edit|check|locat)\w*"
)
_CANNOT = (
    r"(?:can ?not|can['’]t|could ?n(?:o|['’])t|won['’]t|will not"
    r"|(?:do not|don['’]t) have the (?:ability|capability|capacity)|(?:am|['’]m) (?:not able|unable"
    r"|not capable|not programmed|not equipped|not designed))"
)
_NO_ACCESS = r"(?:(?:do not|don['’]t) have (?:direct |any |real-time )?access to|must (?:respectfully )?decline)\b"
_I_CANNOT = rf"\bI(?: |(?=['’]m))(?:really |simply |just )?(?:{_NO_ACCESS}|{_CANNOT} (?:to |of )?(?:\w+ly )?{_DO})"
_AI = (
    r"(?:an?|your) (?:AI|artificial intelligence"
    r"|(?:large |digital |text-based |virtual )?(?:language model|AI|chatbot|assistant))"
)
_SORRY = (
    r"(?:I['’]m|I am|we are|we['’]re)?\s*(?:very |really |so |truly |terribly )?(?:sorry|afraid)"
    r"|(?:I|my|we) (?:sincerely |deeply )?apolog\w+"
)
_NOTHING_GIVEN = (
    r"(?:you (?:did not|didn['’]t|have not|haven['’]t) (?:provided?|given?|includ|mention|shar|attach)\w*"
    r"|(?:there (?:is|was|are|were) )?no [^.\n]{0,60}?(?:provided|given|attached|included)\b)"
)
_REFUSALS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # "I'm sorry, but I can't help with that", "I apologize, but as an AI language model, I cannot ..."
        rf"(?:{_SORRY})\b(?! (?:to hear|for|about)\b)[^.!?\n]{{0,120}}?(?:{_I_CANNOT}|{_NOTHING_GIVEN})",
        # "As an AI language model, I cannot ..."
        rf"(?:sorry, )?(?:as|since I am|because I am|I am|I['’]m) {_AI}\b[^.!?\n]{{0,100}}?{_I_CANNOT}",
        # "I cannot assist with that request"
        rf"I(?: |(?=['’]m)){_CANNOT} (?:to |of )?"
        r"(?:assist|help (?:you )?with|fulfil|comply|provide|generate|create|access|answer|complete|perform)\w*",
        # Alpaca: "<nooutput>", "This instruction cannot be completed by a GPT language model"
        r"<?no ?output\b",
        r"(?:sorry, )?th(?:is|e) (?:type of )?(?:task|instruction|input|question|request)[^.\n]{0,100}"
        r"(?:cannot|can['’]t|can not|not (?:possible|suitable))[^.\n]{0,60}(?:GPT|language model|text)",
        # German
        r"(?:es )?tut mir (?:sehr )?leid,[^.\n]{0,100}?\bkann (?:ich )?[^.\n]{0,60}?nicht",
        r"ich (?:kann|darf) (?:dir |ihnen )?(?:dabei|damit|hierbei|diese\w* anfrage|das) (?:leider )?nicht",
        r"als (?:eine? )?(?:KI|künstliche intelligenz|sprachmodell)\b[^.\n]{0,80}\bkann ich "
        r"[^.\n]{0,60}?(?:nicht|kein)",
        # Spanish, Italian, Portuguese
        r"(?:lo siento|lo lamento|disculpa|perdón|me temo)\b[^.\n]{0,100}?"
        r"\bno (?:puedo|me es posible|estoy en condiciones|soy capaz)",
        r"no puedo (?:ayudar|asistir|cumplir|proporcionar|responder)",
        r"como (?:una? )?(?:IA|inteligencia artificial|modelo de (?:lenguaje|idioma))\b[^.\n]{0,80}"
        r"\bno (?:puedo|tengo acceso)",
        r"mi dispiace\b[^.\n]{0,100}?\bnon posso|(?:desculpe|sinto muito|lamento)\b[^.\n]{0,100}?\bnão posso",
        # French
        r"(?:je suis )?(?:vraiment )?désolée?s?\b[^.\n]{0,100}?\bje ne (?:peux|suis) pas",
        r"je ne peux pas (?:vous |t['’])?(?:aider|répondre|fournir|accéder|satisfaire)",
        r"en tant qu['’](?:une? )?(?:IA|intelligence artificielle|assistant|modèle)\b[^.\n]{0,80}"
        r"\bje ne (?:peux|suis) pas",
        # Russian
        r"(?:извините|простите|к сожалению|прошу прощения|мне жаль)\b[^.\n]{0,100}?\bя не (?:могу|способ\w+|имею)",
        r"я не могу (?:помочь|ответить|выполнить|предоставить)",
        r"как (?:ИИ|искусственный интеллект|языковая модель)\b[^.\n]{0,80}\bя не (?:могу|имею)",
        # Chinese
        r"我?(?:很|非常|十分)?(?:抱歉|对不起|對不起|遗憾)[^。！？\n]{0,60}?"
        r"(?:无法|無法|不能|没有(?:给|提供|为)|并?未(?:给|提供|能)|并没有|不具备)",
        r"(?:由于|因为)?(?:我只?是|作为)(?:一[个名款位种])?[^。，,\n]{0,12}(?:AI|人工智能|语言模型|機器人|机器人)"
        r"[^。\n]{0,40}?我(?:无法|無法|不能|没有能力|不具备)",
        r"我(?:无法|不能)(?:访问|提供|回答|协助|帮助|完成|满足|执行|查看|看到|获取|创建|生成)",
        # Japanese
        r"(?:大変)?(?:申し訳(?:ありません|ございません|ない)|すみません|ごめんなさい)[^。\n]{0,80}?"
        r"(?:できません|できかねます|致しかねます|いたしかねます|お答えできない)",
        r"(?:その|この)?ご?(?:要求|リクエスト|質問|依頼)には?(?:お応え|お答え|対応|回答)(?:する(?:こと)?[はが]?)?"
        r"でき(?:ません|かね)",
    )
]
_OPENING = re.compile(
    r"[\s\"“'*_#>]*(?:(?:unfortunately|oh|well|hi|hello|sure|leider|desafortunadamente|malheureusement)[,.!]?\s+)?",
    re.IGNORECASE,
)
_TURN = re.compile(
    r"\b(?:however(?!,? if you)|but (?:I can|here)|instead|nevertheless|that said|here (?:is|are)|here['’]s"
    r"|I can (?:still|tell|give|provide|offer|suggest|help)|allerdings|jedoch|stattdessen|sin embargo|en cambio"
    r"|pero puedo|cependant|toutefois|voici|однако|но я могу|вот)\b"
    r"|不过|但(?:是|我)?|以下|可以|しかし|ただし|代わりに",
    re.IGNORECASE,
)
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]")


def refusal(text: str) -> str | None:
    """The words with which a text declines to answer at its beginning; None where it answers."""
    start = _OPENING.match(text).end()
    for pattern in _REFUSALS:
        if match := pattern.match(text, start):
            return None if _answers_after_all(text[match.end() :]) else match[0]
    return None


def _answers_after_all(rest: str) -> bool:
    if _length(rest) >= _ENOUGH_ANYHOW:
        return True
    turn = _TURN.search(rest)
    return turn is not None and _length(rest[turn.end() :]) >= _ENOUGH


def _length(text: str) -> int:
    return len(text) + (_IDEOGRAPH - 1) * len(_IDEOGRAPHS.findall(text))
