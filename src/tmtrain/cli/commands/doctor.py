"""``tmtrain doctor``."""

from tmtrain.cli.checks import Check, check_everything
from tmtrain.cli.options import Flag
from tmtrain.cli.output import emit, facts


def doctor(*, json: Flag = False) -> int:
    """Check that everything tmtrain needs is here, and say what to do about what is not.

    Args:
        json: Print JSON.

    Returns:
        Exit code: 1 if something needed is missing.
    """
    checks = list(check_everything())
    ok = all(check.ok for check in checks if check.needed)
    verdict = "all that is needed is here" if ok else "something needed is missing"
    lines = [(check.name, _told(check)) for check in checks]
    emit({"ok": ok, "checks": checks}, facts("doctor", lines), verdict, as_json=json)
    return 0 if ok else 1


def _told(check: Check) -> str:
    if check.ok:
        return check.finding
    return f"{'MISSING' if check.needed else 'note'}: {check.finding}; {check.remedy}"
