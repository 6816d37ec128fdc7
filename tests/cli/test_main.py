import subprocess
import sys


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from marl.cli.main import cli; cli.main(['--help'], standalone_mode=False);"
        "print([name for name in ('torch', 'numpy', 'gymnasium', 'marl.config') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.rstrip().endswith("[]")
    assert "train" in answer.stdout
