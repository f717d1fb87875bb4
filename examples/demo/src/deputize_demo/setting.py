"""Where the story takes place: a folder of its own, two databases, two servers, one Authority."""

import shutil
import sqlite3
import tempfile
from contextlib import ExitStack, closing
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deputize import Authority
from deputize_demo import seed
from deputize_demo.servers import Server

_PORTS: Final = {"analytics": "http://127.0.0.1:8401", "payroll": "http://127.0.0.1:8402"}  # in config/deputize.toml


class Setting:
    """`with` it: everything is set up, and everything is gone afterwards, servers and files."""

    authority: Authority

    def __init__(self, *, rules: bool = True) -> None:
        """`rules`: with the house rules in policies/house.cedar, or without."""
        self._rules = rules
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="deputize-demo-")))
            self.analytics = Server("analytics", self.folder)
            stack.callback(self.analytics.stop)
            self.payroll = Server("payroll", self.folder)
            stack.callback(self.payroll.stop)
            self.config = self._write_config()
            self.customers = self.folder / "customers.sqlite"
            seed.seed(self.customers)
            salaries = self.folder / "salaries.sqlite"
            seed.seed_salaries(salaries)
            self.analytics.start(authority=self.config, database=self.customers)
            self.payroll.start(authority=self.config, database=salaries)
            self.authority = stack.enter_context(Authority.open(self.config))
            stack.callback(self.payroll.hang_up)  # both at once, before either is waited for
            stack.callback(self.analytics.hang_up)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _write_config(self) -> Path:
        """A copy of `config/`, with the ports that are free here."""
        with resources.as_file(resources.files("deputize_demo") / "config") as source:
            shutil.copytree(source, self.folder, dirs_exist_ok=True)
        if not self._rules:
            shutil.rmtree(self.folder / "policies")
        config = self.folder / "deputize.toml"
        text = config.read_text(encoding="utf-8")
        for server in (self.analytics, self.payroll):
            text = text.replace(_PORTS[server.name], server.origin)
        config.write_text(text, encoding="utf-8")
        return config

    @property
    def store(self) -> Path:
        """The authority's file."""
        return self.folder / "deputize.db"

    def count_customers(self) -> int | None:
        """Rows in the customers table; None where the table is gone."""
        with closing(sqlite3.connect(self.customers)) as db:
            if not db.execute("select 1 from sqlite_master where name = 'customers'").fetchone():
                return None
            (count,) = db.execute("select count(*) from customers").fetchone()
            return int(count)
