"""The mistakes a person can mend, as exceptions whose message is a sentence for that person.

Every message names what was wrong, in which file or key, and what to do about it. The commands
print it as one line and end with the class's `exit_code`; callers from Python can catch them as
`ValueError`.
"""


class InputError(ValueError):
    """Something that the user gave cannot be used; the message says what, where and what to do."""

    exit_code = 1


class UsageError(InputError):
    """A misuse: an option, a configuration key, a preset or a run folder that does not exist."""

    exit_code = 2


class AudioFileError(InputError):
    """A file of sound that cannot be read or written; other files are not affected by it."""


class DivergedError(InputError):
    """A training whose loss or weights are no numbers any more; another setting may do better."""


class OutOfMemoryError(InputError):
    """A model, or a batch for it, does not fit into the memory there is."""


class UndefinedMetricError(InputError):
    """A metric has no value on these signals; the message is the reason, without naming a file."""
