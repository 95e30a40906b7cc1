"""Who has which pages of the flash file."""

from tmtrain.policies.shared.best_fit import BestFit
from tmtrain.runtime.tier.flash import Flash
from tmtrain.runtime.tier.managed_storage import ManagedStorage
from tmtrain.runtime.tier.pages import PAGE_BYTES, Span, interior


class FlashRoom:
    """Deals out flash addresses: a storage has as many pages there as in memory, wherever its blocks are."""

    def __init__(self, flash: Flash) -> None:
        self._flash = flash
        self._pages = BestFit()

    def take(self, memory: Span) -> int:
        """Return the first of the pages for the whole pages of a storage; the file grows if it has to.

        Raises:
            FlashError: the drive is full.
        """
        pages = interior(memory).length // PAGE_BYTES
        first = self._pages.take(pages)
        if (first + pages) * PAGE_BYTES > self._flash.size_bytes:
            self._flash.grow((first + pages) * PAGE_BYTES)
        return first

    def free(self, managed: ManagedStorage) -> None:
        """Let others have the pages of a storage that has died."""
        self._pages.give(managed.flash_page, managed.bytes // PAGE_BYTES)
