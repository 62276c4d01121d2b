"""The arguments of the commands that have no Hydra behind them."""

import argparse
from typing import NoReturn

from ncf.errors import UserError


class Parser(argparse.ArgumentParser):
    """What is wrong with the arguments is a UserError."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {self.prog} --help tells the usage")
