"""prefect.yaml becomes flow jobs without Prefect, and says what `prefect deploy` would not."""

import time
from datetime import timedelta
from pathlib import Path
from textwrap import dedent, indent

import pytest

from horae.errors import InvalidJob
from horae.findings import Source
from horae.jobs.policies import CatchUp, Overlap, Tier, Trait
from horae.prefect.yaml import Deployment, Reading, read, read_flow
from horae.prefect.yaml.undeployed import undeployed
from horae.schedules.making import any_of, cron, every

FLOW = '''
from prefect import flow, task

LIMIT = 60

@task(retries=3)
def step(n): ...

@flow(name="code-sweep", timeout_seconds=LIMIT, log_prints=True)
async def code_sweep(repos: list[str], /, depth: int = 1, *, dry: bool, deep: bool = False):
    """Sweeps the code.

    At length.
    """
    print(step(1))

def helper(): ...
'''
SOUND = """
name: sweep
entrypoint: flows/sweep.py:code_sweep
tags: [nightly, "horae:dashboard", "horae:multi_repo", "horae:run_on_start"]
parameters: {repos: ["."], dry: true}
schedules:
  - {slug: nightly, cron: "0 2 * * *", timezone: Europe/Berlin}
concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}
work_pool: {name: horae}
"""


@pytest.fixture
def flows(project: Path) -> Path:
    (project / "flows/sweep.py").write_text(FLOW)
    return project


def deploy(project: Path, *deployments: str, head: str = "") -> Reading:
    items = "".join("  -" + indent(dedent(text).strip(), "    ")[3:] + "\n" for text in deployments)
    (project / "prefect.yaml").write_text(f"{head}deployments:\n{items}")
    return read(project)


def one(reading: Reading) -> Deployment:
    assert reading.findings == ()
    (deployment,) = reading.deployments
    return deployment


def codes(reading: Reading) -> list[str]:
    return [finding.code for finding in reading.findings]


def test_a_deployment_is_a_flow_job(flows: Path) -> None:
    found = one(deploy(flows, SOUND))
    job = found.job
    assert (job.name, job.tier, job.deployment) == ("code-sweep/sweep", Tier.PREFECT, "code-sweep/sweep")
    assert job.short_name == "sweep"
    assert job.traits == {Trait.DASHBOARD, Trait.MULTI_REPO}
    assert job.run_on_start
    assert job.catch_up is CatchUp.ALL, "as Prefect does by itself"
    latest = one(deploy(flows, SOUND.replace("horae:run_on_start", "horae:latest_only"))).job
    assert (latest.catch_up, latest.run_on_start) == (CatchUp.LATEST, False)
    assert job.schedule == cron("0 2 * * *", "Europe/Berlin")
    assert job.description == "Sweeps the code."
    assert job.source == Source(file="prefect.yaml", line=2)
    assert job.retry.retries == 3
    assert job.time_limit == timedelta(seconds=60)
    assert job.overlap is Overlap.SKIP
    assert (found.work_pool, found.entrypoint) == ("horae", "flows/sweep.py:code_sweep")
    assert found.parameters == {"repos": ["."], "dry": True}
    assert found.flow.parameters == ("repos", "depth", "dry", "deep")
    assert found.flow.required == ("repos", "dry")


def test_a_project_without_prefect_yaml_has_no_flows(project: Path) -> None:
    assert read(project) == Reading()


def test_several_schedules_are_one_and_inactive_or_paused_ones_are_none(flows: Path) -> None:
    text = SOUND.replace(
        "  - {slug: nightly",
        '  - {slug: "off", cron: "0 5 * * *", active: false}\n'
        '  - {slug: often, interval: "PT2H", anchor_date: "2026-01-01T00:00:00Z"}\n  - {slug: nightly',
    )
    job = one(deploy(flows, text)).job
    expected = any_of(every(timedelta(hours=2), anchor="2026-01-01T00:00:00Z"), cron("0 2 * * *", "Europe/Berlin"))
    assert str(job.schedule) == str(expected)
    for false in ("false", "'no'", "0", "'off'"):
        assert (
            one(deploy(flows, SOUND.replace("slug: nightly,", f"slug: nightly, active: {false},"))).job.schedule is None
        )
    for true in ("true", "'yes'", "1"):
        assert one(deploy(flows, SOUND + f"paused: {true}\n")).job.schedule is None


def test_anchors_merges_and_definitions_are_yaml_as_prefect_documents_it(flows: Path) -> None:
    head = "definitions:\n  pools:\n    base: &base\n      work_pool: {name: horae}\n"
    text = SOUND.replace("work_pool: {name: horae}", "<<: *base")
    assert one(deploy(flows, text, head=head)).work_pool == "horae"


@pytest.mark.parametrize(
    ("old", "new", "code", "message"),
    [
        ("entrypoint:", "entrypont: x\nentrypoint:", "HR502", "did you mean 'entrypoint'"),
        ("{name: horae}", "{name: horae, queue: x}", "HR502", "unknown key of work_pool 'queue'"),
        ("limit: 1,", "limit: 1, grace_seconds: 60,", "HR502", "did you mean 'grace_period_seconds'"),
        ("CANCEL_NEW", "CANCEL_OLD", "HR501", "did you mean 'CANCEL_NEW'"),
        ("CANCEL_NEW", "[CANCEL_NEW]", "HR501", "`concurrency_limit.collision_strategy` is ['CANCEL_NEW'], not text"),
        (", collision_strategy: CANCEL_NEW", "", "HR501", "has no collision_strategy"),
        ("limit: 1,", "limit: 1, grace_period_seconds: 5,", "HR501", "60 to 86400"),
        ("{repos: [\".\"], dry: true}", "", "HR501", "`parameters` is None, not a mapping"),
        ("{name: horae}", "{name: horae, job_variables: }", "HR501", "`work_pool.job_variables` is None"),
        ("{name: horae}", "", "HR501", "`work_pool` is null"),
        ("parameters: {", "paused: \"{{ $X }}\"\nparameters: {", "HR501", "`paused` is '{{ $X }}', not true or false"),
        ("slug: nightly,", "slug: 1,", "HR501", "`slug` is 1, not text"),
        ("slug: nightly,", "slug: nightly, active: perhaps,", "HR505", "`active` is 'perhaps'. Allowed: true, false"),
        ("limit: 1,", "limit: 0,", "HR501", "prevents every run"),
        ("slug: nightly,", "slug: nightly, timezon: UTC,", "HR502", "did you mean 'timezone'"),
        ("dry: true", "dry: true, repo: 1", "HR503", "did you mean 'repos'"),
        (", dry: true", "", "HR503", "needs dry"),
        ("sweep.py:code_sweep", "swep.py:code_sweep", "HR504", "did you mean 'flows/sweep.py'"),
        ("sweep.py:code_sweep", "sweep.py:code_swep", "HR504", "did you mean 'code_sweep'"),
        ("sweep.py:code_sweep", "sweep.py:helper", "HR504", "flows in this file"),
        ("flows/sweep.py:code_sweep", "../outside.py:flow", "HR504", "unknown flow file '../outside.py'"),
        ("flows/sweep.py:code_sweep", '"flows/\\0.py:flow"', "HR504", "unknown flow file"),
        ("flows/sweep.py:code_sweep", "sweep", "HR504", "not of the form"),
        ("flows/sweep.py:code_sweep", '"{{ entry }}"', "HR512", "is a template"),
        ('"0 2 * * *"', '"0 2 * *"', "HR505", ""),
        ('"0 2 * * *"', '"0 0 31 2 *"', "HR505", ""),
        ('"0 2 * * *"', '"{{ when }}"', "HR512", "is a template"),
        ("Europe/Berlin", "Europe/Berln", "HR505", "Europe/Berlin"),
        ('cron: "0 2 * * *", timezone: Europe/Berlin', 'rrule: "FREQ=DAILY"', "HR513", "rrule"),
        ('cron: "0 2 * * *", timezone: Europe/Berlin', 'rrule: "FREQ=OFTEN"', "HR505", "Prefect refuses rrule"),
        ('"0 2 * * *"', '"0 2 * * * 30"', "HR513", "Horae cannot follow it"),
        ('"0 2 * * *"', '"0 2 * * 5L"', "HR505", "Prefect refuses cron"),
        ('cron: "0 2 * * *", timezone: Europe/Berlin', "interval: soon", "HR501", "`interval` is 'soon'"),
        ('cron: "0 2 * * *", timezone: Europe/Berlin', "interval: 7200, anchor_date: 2026-01-01", "HR505", "00:00Z"),
        ('"0 2 * * *"', '"0 2 1 * 1", day_or: false', "HR513", "both day fields"),
        ("slug: nightly, ", "", "HR506", "no slug"),
        ("work_pool: {name: horae}", "", "HR508", "no work pool"),
        ("horae:dashboard", "horae:dashbord", "HR509", "did you mean 'horae:dashboard'"),
        ("name: sweep", "name: a/b", "HR510", "Prefect refuses / in the name 'a/b'"),
        ("name: sweep", 'name: "{{ $NAME }}"', "HR512", "is a template"),
        ("name: sweep\n", "", "HR510", "needs a name"),
        ("concurrency_limit: {limit: 1, collision_strategy: CANCEL_NEW}\n", "", "HR511", "no concurrency_limit"),
        ("parameters: {", "version: 1\nparameters: {", "HR501", "`version` is 1, not text"),
        ("parameters: {", "flow_name: other\nparameters: {", "HR514", "has no effect"),
        ("parameters: {", "owner: us\nparameters: {", "HR514", "unknown key of a deployment 'owner'"),
        ("parameters: {", "pull: [wrong]\nparameters: {", "HR501", "`pull[0]` is 'wrong', not a mapping"),
        ("parameters: {", "schedule: {cron: x}\nparameters: {", "HR505", "`schedule` and `schedules` are both given"),
    ],
)  # fmt: skip
def test_what_prefect_deploy_does_not_say(flows: Path, old: str, new: str, code: str, message: str) -> None:
    assert old in SOUND
    reading = deploy(flows, SOUND.replace(old, new, 1))
    assert codes(reading) == [code]
    assert message in reading.findings[0].message
    assert reading.findings[0].line is not None


def test_findings_stand_on_their_own_line(flows: Path) -> None:
    (finding,) = deploy(flows, SOUND.replace("slug: nightly,", "slug: nightly, timezon: UTC,")).findings
    assert (finding.file, finding.line, finding.job) == ("prefect.yaml", 7, "sweep")


def test_the_second_deployment_of_a_name_is_refused(flows: Path) -> None:
    reading = deploy(flows, SOUND, SOUND)
    assert codes(reading) == ["HR507"]
    assert "line 2" in reading.findings[0].message
    assert len(reading.deployments) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("deployments: [", "read as YAML"),
        ("- a\n- b\n", "not a mapping"),
        ("deployments: {a: 1}\n", "`deployments` is {'a': 1}, not a list"),
        ("deployments: [3]\n", "a deployment is not a mapping"),
        ("", "the file is empty"),
        ("deployments:\n", "`deployments` is None, not a list"),
        ("name: 5\n", "`name` is 5, not text"),
        ("prefect-version: 3.4\n", "`prefect-version` is 3.4, not text"),
        ("a: &a [*a]\n", "read as YAML"),
    ],
)
def test_a_file_that_is_no_prefect_yaml_is_named(project: Path, text: str, message: str) -> None:
    (project / "prefect.yaml").write_text(text)
    found = [finding.message for finding in read(project).findings if finding.code == "HR501"]
    assert any(message in said for said in found), found


@pytest.mark.parametrize(
    ("entrypoint", "source"),
    [
        ("flows/f.py:run", "import prefect as p\n@p.flow\ndef run(): ...\n"),
        ("flows/f.py:run", "from prefect import flow as fl\n@fl(name='run')\ndef run(): ...\n"),
        ("flows/f.py:run", "from prefect.flows import flow\nNAME = 'run'\n@flow(name=NAME)\nasync def run(): ...\n"),
        ("flows.f:run", "from prefect import flow\n@flow\ndef run(): ...\n"),
        ("flows.f.run", "from prefect import flow\n@flow\ndef run(): ...\n"),
        ("./flows/f.py:run", "from prefect import flow\n@flow\ndef run(): ...\n"),
        ("flows/f.py:run", "\ufefffrom prefect import flow\n@flow\ndef run(): ...\n"),
        ("flows/f.py:made", "from prefect import flow\ndef _f(): ...\nmade = flow(_f, name='run')\n"),
        ("flows/f.py:made", "from prefect import flow\ndef run(): ...\nmade = flow(retries=1)(run)\n"),
        ("flows/f.py:again", "from prefect import flow\n@flow\ndef run(): ...\nagain = run\n"),
        ("flows/f.py:Jobs.run", "from prefect import flow\nclass Jobs:\n @staticmethod\n @flow\n def run(): ...\n"),
        ("flows/f.py:run", "from prefect import flow\nif True:\n @flow\n def run(): ...\n"),
        ("flows/f.py:run", "from prefect import flow\ntry:\n @flow\n def run(): ...\nfinally: ...\n"),
    ],
)
def test_a_flow_is_found_however_it_is_spelled(project: Path, entrypoint: str, source: str) -> None:
    (project / "flows/f.py").write_text(source)
    found = read_flow(project, entrypoint)
    assert (found.name, found.file) == ("run", "flows/f.py")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def run(): ...\n", "plain function"),
        ("from prefect import task\n@task\ndef run(): ...\n", "plain function"),
        ("def run(:\n", "line 1"),
        ("x = 1\n", "unknown function 'run'"),
        ("x = " + "+" * 50_000 + "1\n", "too deep|too many"),
    ],
)
def test_a_flow_that_cannot_be_known_is_refused(project: Path, source: str, message: str) -> None:
    (project / "flows/f.py").write_text(source)
    with pytest.raises(InvalidJob, match=message):
        read_flow(project, "flows/f.py:run")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("from prefect import flow\n@flow(name='a' + 'b')\ndef run(**more): ...\n", "is computed"),
        ("from prefect import flow\n@flow(**OPTIONS)\ndef run(**more): ...\n", "is computed"),
        ("from prefect import flow\nours = flow(retries=2)\n@ours\ndef run(): ...\n", "has the decorator ours"),
        ("from elsewhere import ours\n@ours(2)\ndef run(): ...\n", "has the decorator ours"),
        ("from elsewhere import run\n", "not in this project"),
        ("from elsewhere import *\n", "may come from an `import *`"),
        ("from prefect import flow\nrun = make()\n", "made by a call other than flow(function)"),
    ],
)
def test_a_flow_that_only_running_tells_of_is_taken_for_what_it_likely_is(project: Path, source: str, why: str) -> None:
    (project / "flows/f.py").write_text(source)
    (found,) = deploy(project, SOUND.replace("sweep.py:code_sweep", "f.py:run")).deployments
    assert (found.flow.name, found.job.name) == ("run", "run/sweep")
    assert why in found.flow.unread
    assert codes(read(project)) == ["HR515"]


def test_a_name_that_is_no_text_is_told_once_for_what_it_is(flows: Path) -> None:
    found = deploy(flows, SOUND.replace("name: sweep", "name: [sweep]")).findings
    assert [finding.code for finding in found] == ["HR501", "HR510"]
    assert found[1].message == "a deployment needs a name"


def test_context_is_held_against_the_flow(flows: Path) -> None:
    deployment = one(deploy(flows, SOUND))
    deployment.accepts(["depth", "deep"])
    with pytest.raises(InvalidJob, match="unknown context key 'dep', did you mean 'deep'"):
        deployment.accepts(["dep"])
    by_hand = """
        name: sweep
        entrypoint: flows/sweep.py:code_sweep
        parameters: {repos: ["."]}
        work_pool: {name: horae}
    """
    without = one(deploy(flows, by_hand))
    without.accepts(["dry"])
    with pytest.raises(InvalidJob, match="needs context dry"):
        without.accepts(["depth"])


def test_files_below_the_root_are_read_and_their_entrypoints_found_where_they_are_deployed(flows: Path) -> None:
    deploy(flows, SOUND)
    below = flows / "teams/one"
    (below / "flows").mkdir(parents=True)
    (below / "flows/own.py").write_text("from prefect import flow\n@flow\ndef own(): ...\n")
    own = "deployments: [{name: own, entrypoint: 'flows/own.py:own', work_pool: {name: horae}}]\n"
    (below / "prefect.yaml").write_text(own)
    (flows / "teams/shared.yaml").write_text(own.replace("flows/own.py", "teams/one/flows/own.py"))
    found = read(flows, ["prefect.yaml", "teams/*/prefect.yaml", "teams/shared.yaml"])
    assert [one.job.name for one in found.deployments] == ["code-sweep/sweep", "own/own"]
    assert [(one.path.name, one.base) for one in found.files] == [
        ("prefect.yaml", flows), ("prefect.yaml", below), ("shared.yaml", flows),
    ]  # fmt: skip
    assert [(one.code, one.file) for one in found.findings] == [("HR507", "teams/shared.yaml")]
    assert "in line 1 of teams/one/prefect.yaml" in found.findings[0].message


def test_a_file_that_is_asked_for_by_name_must_be_there(project: Path) -> None:
    assert read(project).findings == ()
    (finding,) = read(project, ["deployments.yaml"]).findings
    assert (finding.code, finding.file) == ("HR501", "deployments.yaml")


def test_aliases_of_aliases_take_no_room(project: Path) -> None:
    """A few lines that stand for a billion values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)
    ]
    (project / "prefect.yaml").write_text("\n".join([*lines, "deployments:", "  - {name: a, tags: *a9}"]))
    assert {finding.code for finding in read(project).findings} == {"HR501"}


def test_the_same_name_under_two_flows_is_two_jobs(flows: Path) -> None:
    (flows / "flows/other.py").write_text("from prefect import flow\n@flow\ndef other(): ...\n")
    other = "name: sweep\nentrypoint: flows/other.py:other\nwork_pool: {name: horae}\n"
    assert [one.job.name for one in deploy(flows, SOUND, other).deployments] == ["code-sweep/sweep", "other/sweep"]


@pytest.mark.parametrize("name", ["a_b", "rj-x--prod", "with spaces", "Ümläut [x]", "a|b", "a:b"])
def test_names_are_those_that_prefect_allows(flows: Path, name: str) -> None:
    assert one(deploy(flows, SOUND.replace("name: sweep", f"name: '{name}'"))).job.name == f"code-sweep/{name}"


@pytest.mark.parametrize(
    "anchor", ["2026-01-01T00:00:00", "2026-01-01 00:00:00.000000", "2026-01-01T01:00:00.000000+01:00", "2026-01-01"]
)
def test_an_anchor_without_a_zone_is_utc(flows: Path, anchor: str) -> None:
    text = SOUND.replace('cron: "0 2 * * *", timezone: Europe/Berlin', f'interval: 7200, anchor_date: "{anchor}"')
    assert one(deploy(flows, text)).job.schedule == every(timedelta(hours=2), anchor="2026-01-01T00:00:00Z")


def test_an_old_schedule_is_read_and_an_empty_one_is_none(flows: Path) -> None:
    head, _, tail = SOUND.partition("schedules:")
    old = head + 'schedule: {cron: "0 2 * * *", slug: nightly}\n' + tail.partition("\n")[2].partition("\n")[2]
    assert one(deploy(flows, old)).job.schedule == cron("0 2 * * *")
    assert one(deploy(flows, old.replace('{cron: "0 2 * * *", slug: nightly}', "{}"))).job.schedule is None


def test_a_flow_file_that_nothing_deploys_is_told(flows: Path) -> None:
    deploy(flows, SOUND)
    sources = {
        "forgotten.py": "from prefect import flow\n\n@flow\ndef forgotten(): ...\n",
        "_helper.py": "from prefect import flow\n\n@flow\ndef helper(): ...\n",
        "served.py": "from prefect import flow\n\n@flow\ndef served(): ...\n\nserved.serve()\n",
        "plain.py": "def overflow(): ...\n",
        "broken.py": "flow = (\n",
    }
    for name, source in sources.items():
        (flows / "flows" / name).write_text(source)
    (finding,) = undeployed(flows, read(flows).led_to)
    assert (finding.code, finding.file, finding.line) == ("HR517", "flows/forgotten.py", 4)


class TestHostileFiles:
    """Files that no one writes by mistake: a finding each, at once and in little memory."""

    BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + level)}: &{chr(98 + level)} [{','.join([f'*{chr(97 + level)}'] * 9)}]\n" for level in range(9)
    )
    MERGES = "m: &m {x: 1}\n" + "".join(
        f"n{level}: &n{level} {{<<: [{', '.join([f'*n{level - 1}' if level else '*m'] * 9)}]}}\n" for level in range(9)
    )

    @pytest.mark.parametrize(
        "text",
        [
            BOMB + "deployments: *j\n",
            BOMB + "deployments:\n- {name: *j, entrypoint: *j, parameters: {a: *j}, schedules: [{cron: *j}, *j]}\n",
            MERGES + "deployments: []\n",
            "deployments: &d\n- *d\n",
            "a: &a\n  b: *a\ndeployments: []\n",
            "x: &x\n  <<: *x\ndeployments: []\n",
            "deployments: " + "[" * 5000 + "]" * 5000,
            "\0",
            "deployments:\n- {name: x, entrypoint: 'flows/f.py:f', schedules: [{cron: '" + "*" * 100_000 + "'}]}\n",
        ],
        ids=["bomb", "bomb in fields", "merges", "itself", "itself in a key", "merges itself", "deep", "nul", "long"],
    )
    def test_a_file_that_is_a_bomb_is_a_finding(self, project: Path, text: str) -> None:
        (project / "flows/f.py").write_text("from prefect import flow\n@flow\ndef f(): ...\n")
        (project / "prefect.yaml").write_text(text)
        began = time.process_time()
        found = read(project).findings
        assert time.process_time() - began < 5
        assert found
        assert sum(len(one.message) for one in found) < 10_000

    @pytest.mark.parametrize("name", ['"\\x1b[31mx"', '"a\\nb"', '" "', "a" * 600, '"\\u202ex"'])
    def test_a_name_that_cannot_be_held_hurts_no_other_deployment(self, project: Path, name: str) -> None:
        (project / "flows/f.py").write_text("from prefect import flow\n@flow\ndef f(): ...\n")
        entry = "  entrypoint: flows/f.py:f\n"
        (project / "prefect.yaml").write_text(f"deployments:\n- name: {name}\n{entry}- name: good\n{entry}")
        found = read(project)
        assert found.led_to == {"flows/f.py"}
        assert "f/good" in {one.job.name for one in found.deployments}
        assert len(found.deployments) == 2 or "HR520" in {one.code for one in found.findings}

    @pytest.mark.parametrize(
        "options", ["timeout_seconds=1e300", "timeout_seconds=1e-300", "timeout_seconds=10**400", "retries=10**400"]
    )
    def test_a_flow_with_an_odd_number_is_read(self, project: Path, options: str) -> None:
        (project / "flows/f.py").write_text(f"from prefect import flow\n@flow({options})\ndef f(): ...\n")
        (project / "prefect.yaml").write_text("deployments:\n- name: good\n  entrypoint: flows/f.py:f\n")
        [found] = read(project).deployments
        assert found.job.name == "f/good"

    @pytest.mark.parametrize(
        "source",
        [
            b"x=" + b"(" * 5000 + b")" * 5000,
            b"x=" + b"+".join([b"1"] * 50_000) + b"\nfrom prefect import flow\n@flow\ndef f(): ...\n",
            b"\0",
            b"from prefect import flow # \xe9\n@flow\ndef f(): ...\n",
            "from prefect import flow\n@flow\ndef f(): ...\n".encode("utf-16"),
        ],
        ids=["deep", "sum", "nul", "latin", "utf-16"],
    )
    @pytest.mark.parametrize("entrypoint", ["flows/f.py:f", "flows/\\0:f", "flows.f:f"])
    def test_a_flow_file_that_cannot_be_read_is_a_finding(self, project: Path, source: bytes, entrypoint: str) -> None:
        (project / "flows/f.py").write_bytes(source)
        (project / "prefect.yaml").write_text(f'deployments:\n- {{name: x, entrypoint: "{entrypoint}"}}\n')
        assert read(project).findings

    def test_a_byte_order_mark_is_no_fault(self, project: Path) -> None:
        flow = "from prefect import flow\n@flow\ndef f(): ...\n"
        (project / "flows/f.py").write_text(flow, encoding="utf-8-sig")
        (project / "prefect.yaml").write_text(
            "deployments:\n- {name: x, entrypoint: 'flows/f.py:f', work_pool: {name: p}}\n", encoding="utf-8-sig"
        )
        assert [one.job.name for one in read(project).deployments] == ["f/x"]
