"""A task that stands in for work on a slice. The processes that run it find this module in its folder."""

import os
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    value: object
    what: str = "say"

    def run(self):
        if self.what == "raise":
            raise ValueError(f"{self.value} is wrong")
        if self.what == "die":
            os._exit(3)
        if self.what == "sleep":
            time.sleep(self.value)
        if self.what == "print":
            os.write(1, b"noise of compiled code")
        return self.value
