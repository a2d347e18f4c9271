"""The frame of every job: what its environment cannot change."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dgmpipe.jobs.job import _WITHOUT_EFFECT


def _run(program: str, folder: Path, **variables: str) -> str:
    """Run a program in a folder, with variables of the environment, and return what it prints."""
    script = folder / "program.py"  # in the C locale a command line takes ASCII alone
    script.write_text(textwrap.dedent(program), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | variables,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


DRAW = """
    import contextlib, sys
    from dgmpipe.jobs.job import job
    with job("log", 1) if {in_job} else contextlib.nullcontext():
        from dgmpipe.figures.style import new_figure, save_figure
        with new_figure(2, 2) as figure:
            axes = figure.subplots()
            axes.plot([0, 1, 2], [0, 2, 1], label="a")
            axes.set_title("½ ± ¼")
            axes.legend()
        save_figure(figure, "figure.png", "figure.pdf")
"""
MATPLOTLIBRC = """
    backend: nonsense
    lines.linewidth: 20
    savefig.facecolor: red
    font.family: monospace
    axes.prop_cycle: cycler('color', ['red'])
    figure.constrained_layout.use: False
    pdf.compression: 0
    text.usetex: True
"""
NO_BACKEND = {"MPLBACKEND": "nonsense"}
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
# Several at once, for each takes a process that imports matplotlib.
SETTINGS = {
    "a notebook's backend, a file of settings and the C locale": {
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "MATPLOTLIBRC": "user",
        **C_LOCALE,
    },
    "a backend that is not there and a folder of settings": NO_BACKEND | {"MPLCONFIGDIR": "user"},
    "a backend with windows, a hash seed and an epoch": {
        "MPLBACKEND": "tkagg",
        "DISPLAY": "",
        "PYTHONHASHSEED": "7",
        "SOURCE_DATE_EPOCH": "7",
    },
}


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    folder = tmp_path_factory.mktemp("drawn")
    _run(DRAW.format(in_job=False), folder)
    return (folder / "figure.png").read_bytes(), (folder / "figure.pdf").read_bytes()


@pytest.mark.parametrize(
    ("settings", "in_job"),
    [*((settings, False) for settings in SETTINGS.values()), (NO_BACKEND, True)],
    ids=[*SETTINGS, "in a job"],
)
def test_figures_do_not_depend_on_what_matplotlib_is_told(
    settings: dict[str, str], in_job: bool, drawn: tuple[bytes, bytes], tmp_path: Path
) -> None:
    user = tmp_path / "user"
    (user / "stylelib").mkdir(parents=True)
    (user / "matplotlibrc").write_text(textwrap.dedent(MATPLOTLIBRC), encoding="utf-8")
    (user / "stylelib/default.mplstyle").write_text("lines.linewidth: 30", encoding="utf-8")
    _run(DRAW.format(in_job=in_job), tmp_path, **settings)
    made = (tmp_path / "figure.png").read_bytes(), (tmp_path / "figure.pdf").read_bytes()
    assert made == drawn


@pytest.mark.parametrize("name", _WITHOUT_EFFECT)
def test_variables_that_change_results_have_no_effect_and_are_named(
    name: str, tmp_path: Path
) -> None:
    program = """
        import os
        from dgmpipe.jobs.job import job
        with job("log", 3):
            import sys
            assert not {"numpy", "torch", "matplotlib"} & sys.modules.keys(), "it would be too late"
            print(sorted(os.environ))
            print(*(os.environ[f"{n}_NUM_THREADS"] for n in ("OMP", "MKL", "OPENBLAS")))
    """
    _run(program, tmp_path, **{name: "1"}, OMP_NUM_THREADS="7", MKL_NUM_THREADS="7")
    log = (tmp_path / "log").read_text(encoding="utf-8")
    assert f"without effect, as they change results: {name}\n" in log
    assert f"'{name}'" not in log
    assert "3 3 3" in log


def test_a_precision_that_the_environment_asks_for_is_not_used(tmp_path: Path) -> None:
    """oneDNN multiplies in bfloat16 where it is told to and the processor can."""
    program = """
        import contextlib, sys
        from dgmpipe.jobs.job import job
        with job("log", 1):
            import torch
            torch.manual_seed(0)
            layer = torch.nn.Conv2d(8, 8, 3)
            print("sum", layer(torch.randn(4, 8, 20, 20)).double().sum().item())
    """
    sums = []
    for variables in (
        {},
        {"ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "DNNL_DEFAULT_FPMATH_MODE": "BF16"},
        {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
    ):
        _run(program, tmp_path, **variables)
        log = (tmp_path / "log").read_text(encoding="utf-8")
        sums.append([line for line in log.splitlines() if line.startswith("sum")])
    assert sums[0]
    assert sums == [sums[0]] * 3


def test_a_job_writes_any_character_in_the_c_locale(tmp_path: Path) -> None:
    program = """
        from dgmpipe.jobs.job import job
        with job("log", 1):
            print("0.3 \\u00b1 0.1")
    """
    _run(program, tmp_path, **C_LOCALE)
    assert (tmp_path / "log").read_text(encoding="utf-8") == "0.3 ± 0.1\n"


@pytest.mark.parametrize("of_slurm", [False, True])
def test_a_job_of_slurm_is_no_fork_of_a_process_outside_of_it(
    of_slurm: bool, tmp_path: Path
) -> None:
    (tmp_path / ".snakemake").mkdir()
    (tmp_path / "who.py").write_text("import os\ndef tell(): print(os.getpid())\n")
    program = f"""
        import contextlib, os
        from pathlib import Path
        from dgmpipe.jobs import forks
        os.environ.pop("SLURM_JOB_ID", None)
        forks.start("tier")
        os.environ.update({{"SLURM_JOB_ID": "7"}} if {of_slurm} else {{}})
        Path("process").write_text(str(os.getpid()))
        with contextlib.suppress(SystemExit):
            forks.run("tier", "who:tell", {{}}, imports=["who"], log="log", threads=1)
    """
    _run(program, tmp_path)
    process, worked = ((tmp_path / name).read_text().strip() for name in ("process", "log"))
    # Elsewhere than on Linux no job is a fork.
    assert (process == worked) == (of_slurm or sys.platform != "linux")
