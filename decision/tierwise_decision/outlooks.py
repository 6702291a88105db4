"""What submissions can expect on the shapes that are known, remembered while those stay as they are."""

from tierwise.directive import Request, parse_directive
from tierwise_decision.known import Known
from tierwise_decision.planning import Outlook, outlook
from tierwise_decision.requested import Requested
from tierwise_decision.settings import Settings

_MOST = 1000


class Outlooks:
    """Who submits in a loop asks for the same again and again."""

    def __init__(self, settings: Settings, known: Known) -> None:
        self._settings, self._known = settings, known
        self._kept: dict[tuple[Request, int, bool, bool, float], Outlook] = {}
        self._version = 0
        """The version of the shapes that they are for."""

    def of(self, request: Request, memory: int, *, explicit: bool, whole_node: bool) -> Outlook:
        """See outlook. Raises RequestTooLargeError."""
        share = self._settings.config.agent.pin_share
        if self._version != self._known.version:
            self._version = self._known.version
            self._kept.clear()
        key = (request, memory, explicit, whole_node, share)
        found = self._kept.get(key)
        if found is None:
            shapes = self._known.shapes.values()
            found = outlook(request, memory, explicit=explicit, whole_node=whole_node, shapes=shapes, pin_share=share)
            self._kept[key] = found
            if len(self._kept) > _MOST:
                del self._kept[next(iter(self._kept))]
        return found

    def gres(self, request: Requested, memory: int) -> str:
        """The GRES that a request known already gets with other memory per node."""
        asked = parse_directive(request.directive) if request.directive else Request("auto")
        if asked.mode != "classes" or not self._settings.config.service.gres:
            return ""
        return self.of(asked, memory, explicit=False, whole_node=False).gres
