"""Write the files of this folder again: ``python -m tests.golden.make``. CONTRIBUTING.md says when that is right."""

from tests.golden.conversation import said
from tests.golden.files import store

if __name__ == "__main__":
    store("messages", said())
