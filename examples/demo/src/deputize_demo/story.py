"""The scenes in order."""

from dataclasses import dataclass

from langchain_core.language_models import BaseChatModel

from deputize import SessionTree
from deputize_demo.checks import Checks
from deputize_demo.model import ScriptedModel
from deputize_demo.report import report
from deputize_demo.revocation import revocation
from deputize_demo.screen import Screen
from deputize_demo.scripts import Cast
from deputize_demo.setting import Setting
from deputize_demo.stage import Stage
from deputize_demo.tampering import tampering
from deputize_demo.theft import theft


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it."""

    checks: Checks
    tree: SessionTree
    records: int


async def play(setting: Setting, screen: Screen, model: BaseChatModel | None) -> Outcome:
    """Play all six scenes. `model` makes the report; left out, a scripted one does."""
    cast = Cast()
    scripted = ScriptedModel(parts=cast.parts())
    with setting.authority.session(user="alice", agent="supervisor", task="churn report") as root:
        stage = Stage(setting, screen, root)
        await report(stage, scripted, model)
        await theft(stage)
        await revocation(stage, scripted, cast.interlude)
    await tampering(stage)
    return Outcome(stage.checks, root.tree(), len(setting.authority.audit))
