"""supervisord, whose own lines are JSON like those of what it starts: `python -P webapp/supervised.py -n -c FILE`."""

import datetime
import json

from supervisor import loggers, supervisord
from supervisor.options import ServerOptions

LEVELS = {"WARN": "warning", "ERRO": "error", "CRIT": "critical"}


class JsonLine:
    """Takes the place of supervisor's format, which it applies with `%` to the parts of a record."""

    def __mod__(self, parts: dict[str, str]) -> str:
        line = {
            "event": parts["message"],
            "level": LEVELS.get(parts["levelname"], "info"),
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "logger": "supervisor",
        }
        return json.dumps(line, ensure_ascii=False) + "\n"


class Options(ServerOptions):
    def make_logger(self) -> None:
        """Supervisor's hook."""
        self.logger = loggers.getLogger(self.loglevel)
        loggers.handle_stdout(self.logger, JsonLine())
        for text in (*self.parse_criticals, *self.parse_warnings):
            self.logger.warn(text)
        for text in self.parse_infos:
            self.logger.info(text)


if __name__ == "__main__":
    supervisord.ServerOptions = Options
    supervisord.main()
