"""Lists of words that rules look up, in lower case, abbreviations without their last stop.

One table of abbreviations serves the three languages: a token is either Latin or Cyrillic, and Ukrainian and Russian
share most of it.
"""

from typing import Final


def _word_set(table: str) -> frozenset[str]:
    return frozenset(table.split())


NEVER_ENDING: Final = _word_set(
    # English titles and references
    "govs sens reps profs gens mr mrs ms dr prof gen lt col maj capt cpt cpl sgt brig cmdr adm "
    "sen rep gov rev hon st ft mt messrs pres amb supt "
    "vs e.g i.e cf approx ca fig vol ed eds "
    # titles and persons
    "ген полк подполк підполк кап лейт серж адм проф акад доц канд докт дж ал вл св о.о гр тов ред упоряд зав зам заст "
    # places
    "им ім ул вул пр просп пер пров бул бульв наб пл пос смт дер оз хут мкр корп кв буд "
    # references and phrases
    "зв наз т.зв т.н т.к т.е т.ч напр див см рис мал табл гл розд разд стор стр пп вип вып ср пор прим "
    "так.наз букв"
)

# Shortened only before a number: "No. 5", "Jan. 2023"; otherwise the word itself ends a sentence.
NEVER_ENDING_BEFORE_NUMBER: Final = _word_set(
    "no nos p pp ch art sec para jan feb mar apr jun jul aug sep sept oct nov dec "
    "січ лют бер квіт трав черв лип серп вер жовт лист груд янв февр апр авг сент окт нояб дек"
)

# End a sentence only where the next word is one that opens sentences: "in the U.S. The family", "U.S. President".
ENDING_BEFORE_OPENER: Final = _word_set(
    "u.s u.k u.n e.u u.s.a d.c inc corp ltd co jr sr ph.d b.c a.d a.m p.m etc al bros"
)

# End a sentence wherever the next word has a capital.
ENDING_BEFORE_CAPITAL: Final = _word_set(
    "т.д т.п и.др та.ін ін др млн млрд трлн тис тыс грн руб коп дол долл обл км кг см мм га год хв мин хвил сек шт "
    "экз екз н.е н.э чол чел гг рр ст.ст"
)

# A year after a number, a place before a name: "в 2014 г. Россия", "г. Сочи".
YEARS: Final = _word_set("г гг р рр")

# A measure after a number or a numeral, something else before a name: "100 м.", "м. Київ"; "XX ст.", "ст. 5".
MEASURES: Final = _word_set("м с т ч л в вв г р ст")

# A sentence that opens with one of these and reaches a year at once goes on after it.
OPENING_PREPOSITIONS: Final = _word_set("в у во с з із до к на за по після после від от к")

OPENERS: Final = _word_set(
    "the he she it they we i you a an in on at but and this that these those there his her its their our however when "
    "after before while now not no so if as by for from with meanwhile then officials police what who why how "
    "він вона вони воно ми ви це цей ця ці той та але і й а у в на за з до від про як коли тепер зараз потім тому так "
    "там тут його її їх їхній якщо що хто чому "
    "он она они оно мы вы это этот эта эти тот но и с к от о когда теперь сейчас затем потом поэтому там здесь его её "
    "их если что кто почему по"
)

# Frequent words that only one of Ukrainian and Russian has.
UKRAINIAN_WORDS: Final = _word_set(
    "але або був бо буде від вже він вона вони з зі і із його й коли ми ні про та тому у чи що щоб це ще"
)
RUSSIAN_WORDS: Final = _word_set(
    "был будет где его ее если еще и или из как когда мы нет но об он она они от с со только уже что чтобы"
)

# Frequent words that are rare in other languages of the Latin script.
ENGLISH_WORDS: Final = _word_set(
    "the of and are by from has have his its not over said says that their they this to was were what who will with"
)
