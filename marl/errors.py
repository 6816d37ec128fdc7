"""Every exception that marl raises on purpose.

MarlError
├── ConfigError         a key, value or combination of options that cannot work
├── EnvironmentFault    an environment that is missing, or breaks gymnasium's promises
│   └── SpaceFault      one whose spaces are not served, or that does not keep to them: another try ends in the same way
├── MissingExtra        an optional package that is not installed
├── PluginError         a ``module:object`` name that cannot be imported
├── WeightsFileError    a weights or checkpoint file that cannot be read
├── ExportFailed        a network that cannot be written in the format that was asked for
├── RunFolderError      a folder that is not a run
├── LinkError           a conversation that cannot go on
│   ├── LinkClosed      the other side is gone, or this side closed the link
│   └── LinkTimeout     nothing complete came, or could be sent, in time
├── MessageRefused      a message that is malformed, damaged, or not what was agreed
│   └── WeightsRefused  weights, or a change of them, that must not be used: not finite, a scale out of range
├── HandshakeRefused    parent and child differ in what both must share
├── TrustError          a peer, or a file that says whom to trust, that must not be trusted
│   ├── KeyFileError        a key or ticket file that is missing, damaged or open to others
│   ├── TicketError         a ticket or request that is damaged, expired or of another kind
│   └── CertificateError    a certificate that is missing, damaged, or not of this cluster
├── FailpointError      what a test asked for
├── NoChildren          no child of a run can be reached, or none may take part
├── Superseded          another parent leads the run: this one must stop
└── WorkerFailed        workers died more often than the run allows

Each message says what was expected, what came and what to do; the commands print it as one line.
"""


class MarlError(Exception):
    """Base of all errors a user can mend; its text is meant to be read by them."""


class ConfigError(MarlError):
    """A key, value or combination of options that cannot work."""


class EnvironmentFault(MarlError):
    """An environment that cannot be made, or that breaks a promise of gymnasium's interface."""


class SpaceFault(EnvironmentFault):
    """Spaces that nothing here serves, or observations and rewards of another shape or type than declared."""


class MissingExtra(MarlError):
    """An optional package is needed and not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}: run pip install 'marl-cluster[{extra}]'")


class PluginError(MarlError):
    """A ``package.module:name`` that cannot be imported."""


class WeightsFileError(MarlError):
    """A weights or checkpoint file that is unreadable, foreign, or of another shape."""


class ExportFailed(MarlError):
    """A network of a user's own, or a size, that the format that was asked for cannot hold."""

    @classmethod
    def of(cls, form: str, error: Exception) -> "ExportFailed":
        """Of what a library said, of which the first line is enough."""
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        return cls(f"torch cannot write this network as {form}: {type(error).__name__}: {first:.300}")


class RunFolderError(MarlError):
    """A folder that is not a run, or cannot be written."""


class WorkerFailed(MarlError):
    """Workers died more often than ``node.max_restarts`` allows."""


class TrustError(MarlError):
    """A peer, or a file that says whom to trust, that must not be trusted."""


class KeyFileError(TrustError):
    """A key or ticket file that is missing, damaged, another user's or open to others."""


class TicketError(TrustError):
    """A ticket, or a request for one, that is damaged, expired or of another kind."""


class CertificateError(TrustError):
    """A certificate that is missing, damaged, or names no node of this cluster."""


class LinkError(MarlError):
    """A conversation that cannot go on."""


class LinkClosed(LinkError):
    """The other side is gone, or this side closed the link."""


class LinkTimeout(LinkError):
    """Nothing complete came, or could be sent, in the time allowed; the link is still open."""


class MessageRefused(MarlError):
    """A message that is malformed, damaged, or not what was agreed; nothing of it may be used."""


class WeightsRefused(MessageRefused):
    """Weights, or a change of them, that must not be used: not finite, of absurd size, with scales out of range."""


class HandshakeRefused(MarlError):
    """Parent and child differ in something that both must share; the text names both values."""

    def __init__(self, text: str, *, permanent: bool = True, superseded: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent  # another try cannot end otherwise
        self.superseded = superseded  # another parent leads the run: this one must stop


class FailpointError(MarlError):
    """A failpoint that a test has armed, or an arming that cannot be read."""


class NoChildren(MarlError):
    """No child of a run can be reached, or none may take part: there is nobody to train."""


class Superseded(MarlError):
    """Another parent leads the run; this one must not go on."""
