"""The tests of the scripts: `make test-scripts`."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIGEST = "sha256:" + 64 * "a"

CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.0] - 2026-12-01

### Added

- Something.

## [1.1.0] - 2026-11-01

- **BREAKING** `## [1.2.0]` in a text is no heading.
"""
CARGO = '[workspace.package]\nrust-version = "1.95"\n\n[package]\nversion = "1.2.0"\n\n[dependencies]\nx = { version = "9" }\n'
CHART = "apiVersion: v2\nversion: 1.2.0\nappVersion: {}\ndependencies:\n  - version: 9.9.9\n"
IMAGES = "annotations:\n  artifacthub.io/images: |\n    - name: restamp\n      image: restamp:dev\n"


def run(root, script, *arguments, **variables):
    command = [f"{root}/scripts/{script}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **variables})


def stand_in(test, name, script, path=None):
    """A PATH on which a program that would reach out is only said to have run."""
    folder = tempfile.TemporaryDirectory()
    test.addCleanup(folder.cleanup)
    program = Path(folder.name, name)
    program.write_text("#!/bin/sh\n" + script)
    program.chmod(0o755)
    return f"{folder.name}:{path or os.environ['PATH']}"


class Repository(unittest.TestCase):
    """A repository with a version 1.2.0 to release."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        for needed in ("scripts", "manifests", "certs"):
            shutil.copytree(ROOT / needed, self.root / needed)
        self.write("CHANGELOG.md", CHANGELOG)
        self.write("Cargo.toml", CARGO)
        self.write("charts/restamp/Chart.yaml", CHART.format('"1.2.0"'))

    def write(self, name, text):
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)


class Release(Repository):
    def refused(self, tag, *reasons):
        check = run(self.root, "release-check", tag)
        self.assertEqual(check.returncode, 1, check)
        for reason in reasons:
            self.assertIn(reason, check.stderr)

    def test_notes_are_the_section_of_the_version_and_nothing_else(self):
        self.assertEqual(run(self.root, "release-notes", "1.2.0").stdout, "### Added\n\n- Something.\n")
        self.assertTrue(run(self.root, "release-notes", "1.1.0").stdout.startswith("- **BREAKING**"))

    def test_no_notes_of_what_is_not_there_or_empty(self):
        for version in ("1.2", "1x2.0", "3.0.0", "Unreleased"):
            notes = run(self.root, "release-notes", version)
            self.assertEqual((notes.returncode, notes.stdout), (1, ""))
            self.assertIn(f"[{version}]", notes.stderr)

    def test_one_version_everywhere_can_be_released(self):
        check = run(self.root, "release-check", "v1.2.0")
        self.assertEqual((check.returncode, check.stderr), (0, ""))

    def test_everything_that_differs_is_named(self):
        self.refused("v1.1.0", "Cargo.toml says '1.2.0'", "the version in charts/restamp", "the appVersion in charts")
        self.refused("1.2.0", "'1.2.0' is no version with a v")
        self.refused("v1.2", "is no version")
        self.write("charts/restamp/Chart.yaml", CHART.format("1.1.9"))
        self.refused("v1.2.0", "the appVersion in charts/restamp/Chart.yaml says '1.1.9'")

    def test_a_section_without_a_day_or_without_entries_is_not_released(self):
        self.write("CHANGELOG.md", CHANGELOG.replace(" - 2026-12-01", ""))
        self.refused("v1.2.0", "no heading '## [1.2.0] - YYYY-MM-DD'")
        self.write("CHANGELOG.md", CHANGELOG.replace("### Added\n\n- Something.\n", ""))
        self.refused("v1.2.0", "or nothing in it")


class Workflows(unittest.TestCase):
    def text(self):
        return "".join(path.read_text() for path in sorted(ROOT.glob(".github/workflows/*.yml")))

    def test_they_call_commands_that_there_are(self):
        there = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
        called = {word for line in re.findall(r"run: make (.*)", self.text()) for word in line.split() if "=" not in word}
        self.assertTrue(called)
        self.assertFalse(called - there)
        for script in set(re.findall(r"scripts/[a-z0-9-]+", self.text())) - {"scripts/lint-requirements"}:
            self.assertTrue((ROOT / script).is_file(), script)

    def test_kind_has_the_oldest_and_the_newest_kubernetes_that_are_promised(self):
        versions = re.findall(r"- kubernetes: \"(.*)\"", self.text())
        images = re.findall(r"image: kindest/node:v(\d+\.\d+)\.\d+@sha256:[0-9a-f]{64}$", self.text(), re.MULTILINE)
        promised = re.search(r"Kubernetes (1\.\d+) or newer; the tests run on (1\.\d+)\.", (ROOT / "README.md").read_text())
        self.assertEqual(versions, list(promised.groups()))
        self.assertEqual(images, versions)


class E2eOnKind(unittest.TestCase):
    GO = r"""cat > "$GOBIN/kind" <<'END'
#!/bin/sh
echo "kind $*"
END
chmod +x "$GOBIN/kind"; echo "go $*"
"""

    def on_kind(self, make):
        programs = {"go": self.GO, "docker": "printf 'fc00::1\\n172.18.0.1\\n'\n", "make": make}
        path = os.environ["PATH"]
        for name, script in programs.items():
            path = stand_in(self, name, script, path)
        return run(ROOT, "e2e-on-kind", "0.33.0", "kindest/node:v1.37.0", PATH=path)

    def test_the_tests_get_the_cluster_and_this_machines_address_and_it_is_deleted(self):
        for code in (0, 3):
            ran = self.on_kind(f'echo "make $* $E2E_KUBECONFIG $E2E_WEBHOOK_HOST"; [ "$*" != e2e ] || exit {code}\n')
            self.assertEqual(ran.returncode, code, ran)
            lines = ran.stdout.splitlines()
            loaded = [line for line in lines if line.startswith("kind load image-archive target/image/")]
            self.assertGreaterEqual(len(loaded), 2)
            installed, created, built, rendered, released, tested, deleted = [line for line in lines if line not in loaded]
            self.assertEqual(installed, "go install sigs.k8s.io/kind@v0.33.0")
            kubeconfig, name = re.fullmatch(
                "kind create cluster --image kindest/node:v1.37.0 --config .*/nodes.yaml --kubeconfig (.*) --wait 3m --name (.*)",
                created,
            ).groups()
            self.assertEqual(built.strip(), "make image tools-images")
            self.assertEqual(rendered, f"make chart {kubeconfig} 172.18.0.1")
            self.assertEqual(released, f"make e2e-nodes {kubeconfig} 172.18.0.1")
            self.assertEqual(tested, f"make e2e {kubeconfig} 172.18.0.1")
            self.assertEqual(deleted, f"kind delete cluster --name {name}")
            self.assertFalse(Path(kubeconfig).parent.exists())


class Sbom(unittest.TestCase):
    def test_it_has_what_is_linked_and_nothing_that_only_tests_or_builds_need(self):
        sbom = run(ROOT, "sbom", "x86_64-unknown-linux-gnu")
        self.assertEqual(sbom.returncode, 0, sbom.stderr)
        sbom = json.loads(sbom.stdout)
        names = {component["name"] for component in sbom["components"]}
        self.assertEqual(sbom["metadata"]["component"]["name"], "restamp")
        self.assertLessEqual({"kube", "ring", "rustls", "webpki-root-certs", "rust-std", "glibc"}, names)
        self.assertFalse(names & {"restamp", "restamp-test-cluster", "proptest", "tower-test", "serde_derive", "cc"})
        for component in sbom["components"]:
            if component["purl"].startswith("pkg:cargo/"):
                self.assertRegex(component["hashes"][0]["content"], "^[0-9a-f]{64}$")
                self.assertTrue(component["licenses"][0]["expression"])


@unittest.skipUnless(shutil.which("kubectl"), "needs kubectl")
class InstallManifest(unittest.TestCase):
    def test_every_container_has_the_image_by_its_digest(self):
        image = f"registry.example/team/restamp@{DIGEST}"
        manifest = run(ROOT, "install-manifest", image)
        images = re.findall(r"\bimage: (.*)$", manifest.stdout, re.MULTILINE)
        self.assertEqual(set(images), {image}, manifest.stderr)

    def test_a_tag_is_refused(self):
        for image in ("restamp:1.2.0", "restamp@sha256:abc", f"@{DIGEST}"):
            manifest = run(ROOT, "install-manifest", image)
            self.assertEqual((manifest.returncode, manifest.stdout), (1, ""))
            self.assertIn("is no NAME@sha256:DIGEST", manifest.stderr)


class PushChart(Repository):
    IMAGE = f"registry.example:5000/restamp:1.2.0@{DIGEST}"
    # Its package is what names the image alone.
    HELM = 'case $1 in package) cp "$4/Chart.yaml" "$3/restamp-1.2.0.tgz" ;; push) cp "$2" {} && {} ;; esac\n'

    def setUp(self):
        super().setUp()
        self.chart = CHART.format("1.2.0") + IMAGES
        self.write("charts/restamp/Chart.yaml", self.chart)

    def push(self, said, image=IMAGE):
        path = stand_in(self, "helm", self.HELM.format(self.root / "pushed", said))
        return run(self.root, "push-chart", "registry.example/charts", image, PATH=path)

    def test_it_has_the_published_image_and_else_what_it_had(self):
        self.push(f"echo Digest: {DIGEST}")
        image = self.chart.replace("restamp:dev", self.IMAGE)
        self.assertEqual((self.root / "pushed").read_text(), image)
        self.assertEqual((self.root / "charts/restamp/Chart.yaml").read_text(), self.chart)

    def test_an_image_without_its_digest_is_refused(self):
        for image in ("restamp:1.2.0", f"restamp@{DIGEST}", f"registry.example:5000/restamp@{DIGEST}"):
            pushed = self.push(f"echo Digest: {DIGEST}", image)
            self.assertEqual((pushed.returncode, pushed.stdout), (1, ""))
            self.assertIn("is no IMAGE:TAG@DIGEST", pushed.stderr)

    def test_a_chart_without_a_place_for_it_is_refused(self):
        self.write("charts/restamp/Chart.yaml", CHART.format("1.2.0"))
        pushed = self.push(f"echo Digest: {DIGEST}")
        self.assertEqual((pushed.returncode, pushed.stdout), (1, ""))
        self.assertIn("does not name one image", pushed.stderr)

    def test_it_says_the_digest_that_helm_says_on_either_stream(self):
        for stream in ("", " >&2"):
            pushed = self.push(f"printf 'Pushed: %s\\nDigest: {DIGEST}\\n' \"$3\"{stream}")
            self.assertEqual(pushed.stdout, f"{DIGEST}\n", pushed.stderr)

    def test_no_push_and_no_digest_are_failures(self):
        for said in ("{ echo denied >&2; exit 1; }", "echo done"):
            pushed = self.push(said)
            self.assertEqual((pushed.returncode, pushed.stdout), (1, ""))
            self.assertRegex(pushed.stderr, "denied|helm said no digest: done")


@unittest.skipUnless(shutil.which("kubectl"), "needs kubectl")
class ReleaseGithub(Repository):
    IMAGE, CHART = f"registry.example/restamp@{DIGEST}", f"registry.example/charts/restamp@{DIGEST}"

    def release(self, **variables):
        path = stand_in(self, "gh", 'echo "gh $@"; cat "$8"; grep -c "image: .*@sha256" "${10}"\n')
        return run(self.root, "release-github", "v1.2.0", self.IMAGE, self.CHART, "a.json", "b.json", PATH=path, **variables)

    def test_the_release_has_notes_manifest_and_files(self):
        made = self.release()
        said, *notes, images = made.stdout.splitlines()
        self.assertRegex(said, "^gh release create v1.2.0 --verify-tag .* --prerelease=false .*/install.yaml a.json b.json$")
        for text in ("- Something.", self.IMAGE, self.CHART):
            self.assertIn(text, "\n".join(notes))
        self.assertGreater(int(images), 0)

    def test_a_dry_run_makes_none(self):
        made = self.release(DRY_RUN="1")
        self.assertTrue(made.stdout.startswith("### Added"), made)
        self.assertNotIn("gh release", made.stdout)


@unittest.skipUnless(shutil.which("buildah"), "needs buildah")
class PushImage(unittest.TestCase):
    def test_archives_of_two_architectures_make_one_image(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        archives = [self.archive(folder.name, architecture) for architecture in ("amd64", "arm64")]
        pushed = run(ROOT, "push-image", f"oci:{folder.name}/pushed:1.2.0", *archives)
        self.assertRegex(pushed.stdout, r"\Asha256:[0-9a-f]{64}\n\Z", pushed.stderr)
        again = run(ROOT, "push-image", f"oci:{folder.name}/again:1.2.0", *archives)
        self.assertEqual(pushed.stdout, again.stdout)
        index = Path(folder.name, "pushed/blobs", pushed.stdout.strip().replace(":", "/"))
        manifests = json.loads(index.read_text())["manifests"]
        platforms = {(one["platform"]["os"], one["platform"]["architecture"]) for one in manifests}
        self.assertEqual(platforms, {("linux", "amd64"), ("linux", "arm64")})
        for manifest, archive in zip(manifests, archives):
            said = run(ROOT, "image-id", archive).stdout.strip()
            self.assertEqual(said, Path(archive).with_suffix(".id").read_text())
            manifest = Path(folder.name, "pushed/blobs", manifest["digest"].replace(":", "/"))
            self.assertEqual(json.loads(manifest.read_text())["config"]["digest"], said)

    def archive(self, folder, architecture):
        def buildah(*arguments):
            subprocess.run(["buildah", *arguments], cwd=folder, check=True, capture_output=True)

        Path(folder, "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
        image = f"restamp-test-{architecture}:dev"
        buildah("build", "--timestamp", "0", "--arch", architecture, "--iidfile", f"{architecture}.id", "--tag", image, ".")
        self.addCleanup(buildah, "rmi", image)
        buildah("push", image, f"docker-archive:{folder}/{architecture}.tar:docker.io/library/{image}")
        return f"{folder}/{architecture}.tar"


COMPATIBILITY = """| what | here | | shown by |
|---|---|---|---|
| `--a` | same | | `notices`, `sees` |
| `--b` | better | more | `notices` |
| `--c` | no | never | |
"""
MUTANT = """[[mutant]]
rows = [{rows}]
file = "src/lib.rs"
from = "{before}"
to = "{after}"
"""


class Mutants(Repository):
    # `notices` fails without the feature; `sees` fails without the light.
    CARGO = """has() { grep -q "$1" src/lib.rs && echo ok || echo FAILED; }
case "$*" in
*--no-run*) [ "$(has BROKEN)" = FAILED ] || { echo "no such thing" >&2; exit 101; } ;;
*--list*) printf 'tests::notices: test\ntests::sees: test\n' ;;
*) printf 'test tests::notices ... %s\ntest tests::sees ... %s\n' "$(has feature)" "$(has light)" ;;
esac
"""

    def setUp(self):
        super().setUp()
        subprocess.run(["git", "init", "--quiet"], cwd=self.root, check=True)
        self.path = stand_in(self, "cargo", self.CARGO)
        self.write(".gitignore", "target/\n")
        self.write("docs/compatibility.md", COMPATIBILITY)
        self.write("src/lib.rs", "feature light\nfn notices() {}\nfn sees() {}\n")

    def mutants(self, *mutants, options=()):
        self.write("tests/mutants/all.toml", "".join(mutants))
        return run(self.root, "mutants", *options, PATH=self.path)

    def mutant(self, before="feature light", after="", rows='"`--a`", "`--b`"'):
        return MUTANT.format(before=before, after=after, rows=rows)

    def test_a_feature_that_is_taken_out_of_a_copy_fails_its_tests(self):
        before = {path: path.read_bytes() for path in self.root.glob("src/*")}
        ran = self.mutants(self.mutant())
        self.assertEqual(ran.returncode, 0, ran)
        for test in ("notices", "sees"):
            self.assertIn(f"{test}: failed, as it must", ran.stdout)
        self.assertEqual({path: path.read_bytes() for path in self.root.glob("src/*")}, before)

    def test_a_test_that_does_not_notice_is_named_and_those_after_it_start_from_the_whole(self):
        ran = self.mutants(self.mutant("light"), self.mutant("feature"))
        self.assertEqual(ran.returncode, 1, ran)
        self.assertEqual(ran.stdout.count("notices: SURVIVED"), 1)
        self.assertEqual(ran.stdout.count("sees: SURVIVED"), 1)
        self.assertIn("2 mutants: 2 of 4 tests failed as they must", ran.stdout)

    def test_what_does_not_compile_shows_nothing(self):
        ran = self.mutants(self.mutant(after="BROKEN"))
        self.assertEqual(ran.returncode, 1, ran)
        self.assertIn("ERROR: it does not compile\nno such thing", ran.stdout)

    def test_tests_that_fail_anyway_or_do_not_run_show_nothing(self):
        self.write("src/lib.rs", "feature dark\nfn notices() {}\nfn sees() {}\n")
        ran = self.mutants(self.mutant("feature"))
        self.assertEqual(ran.returncode, 1, ran)
        self.assertIn("without a mutant: {'sees': 'FAILED'}", ran.stdout)
        self.assertNotIn("as it must", ran.stdout)
        self.path = stand_in(self, "cargo", "exit 0")
        self.assertIn("'notices': 'did not run'", self.mutants(self.mutant("feature")).stdout)

    def test_two_runs_do_not_share_a_copy(self):
        self.write("target/mutants/target/lock", "")
        with open(self.root / "target/mutants/target/lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            ran = self.mutants(self.mutant())
        self.assertEqual(ran.returncode, 1, ran)
        self.assertIn("is in use", ran.stderr)

    def test_some_of_them_can_be_chosen(self):
        both = self.mutant(rows='"`--a`"'), self.mutant(rows='"`--b`"')
        ran = self.mutants(*both, options=["--only=--b"])
        self.assertEqual(ran.returncode, 0, ran)
        self.assertIn("1 mutants: 1 of 1 tests", ran.stdout)

    def test_what_is_wrong_with_the_list_is_said(self):
        check = self.mutants(self.mutant(), options=["--check"])
        self.assertEqual((check.returncode, check.stderr), (0, ""))
        self.write("src/lib.rs", "light light\nfn notices() {}\n")
        both = self.mutant("feature", rows='"`--b`"'), self.mutant("light", rows='"--d"')
        check = self.mutants(*both, 'tests = ["sees"]\n', options=["--check"])
        self.assertEqual(check.returncode, 1, check)
        for told in ("`from` is there 0 times", "`from` is there 2 times", "has no row --d", "takes `--a` out for sees", "there is no test sees"):
            self.assertIn(told, check.stderr)

    def test_the_list_has_every_row_and_every_test(self):
        check = run(ROOT, "mutants", "--check")
        self.assertEqual((check.returncode, check.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
