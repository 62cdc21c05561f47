//! The story of Restamp on a real API server with real controllers; `make demo` runs it.
//!
//! Every claim is read back from the API server, and the exit code is 0 only if each held.

mod ground;
mod shop;
mod tell;

use std::{
    io::{IsTerminal, stdin, stdout},
    process::ExitCode,
    time::{Duration, Instant},
};

use ground::{Ground, Restamp};
use shop::{NAMES, NAMESPACE, Revisions, Shop};
use tell::Teller;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The rollouts that are to come, in the order of [`NAMES`].
const NONE: Revisions = [0, 0, 0];
const CHECKOUT: Revisions = [1, 0, 0];
const CHECKOUT_TWICE: Revisions = [2, 0, 0];
const CATALOG: Revisions = [0, 1, 0];

/// What a namespace has to carry for its workloads to go through the webhook.
const LABEL: &str = "restamp.dev/inject=enabled";

#[tokio::main]
async fn main() -> ExitCode {
    tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => ExitCode::from(130),
        code = demo() => code,
    }
}

async fn demo() -> ExitCode {
    let mut teller = Teller::new(stdout().is_terminal());
    let ground = match Ground::find() {
        Ok(ground) => ground,
        Err(error) => {
            teller.failure(&format!("the demo cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = tell(&ground, &mut teller).await {
        teller.broke_off(&error.to_string());
    }
    if teller.failed().is_empty() {
        return ExitCode::SUCCESS;
    }
    teller.log_tail(&ground.log());
    ExitCode::FAILURE
}

async fn tell(ground: &Ground, teller: &mut Teller) -> Result<()> {
    teller.title("Restamp, on a real API server with simulated nodes");
    let client = ground.client().await?;
    teller.command("kubectl apply --server-side -k manifests/base");
    ground.install(&client).await?;
    let watcher = ground.start_watcher()?;
    teller.line(&format!(
        "The watcher is process {}, with the token of its ServiceAccount.",
        watcher.id()
    ));
    teller.line("It restarts nothing before 2 s without a further change (--settle).");
    let webhook = ground.start_webhook().await?;
    teller.line(&format!(
        "The webhook is process {}; the API server calls it for namespaces with the label {LABEL}.",
        webhook.id()
    ));
    let shop = Shop { client, ground };
    for command in [
        ["create", "namespace", NAMESPACE].as_slice(),
        &["label", "namespace", NAMESPACE, LABEL],
    ] {
        teller.command(&format!("kubectl {}", shown(command)));
        ground.kubectl(command).await?;
    }
    let told = in_shop(&shop, teller, watcher, webhook).await;
    // On a cluster that stays, nothing of the demo does.
    let close = ["delete", "namespace", NAMESPACE, "--wait=false"];
    let closed = ground.kubectl(&close).await;
    told?;
    closed.map(drop)
}

async fn in_shop(
    shop: &Shop<'_>,
    teller: &mut Teller,
    watcher: Restamp,
    webhook: Restamp,
) -> Result<()> {
    shop.until_webhook_is_called().await?;
    let mut story = Story { teller, shop };
    story.run("apply -f examples/demo/shop.yaml").await?;
    for line in shop::DESCRIPTION {
        story.teller.line(line);
    }
    shop.until_recorded().await?;
    shop.until_quiet().await?;
    story.changes().await?;
    story.deploys().await?;
    let _watcher = story.outage(watcher).await?;
    story.without_webhook(webhook).await?;
    story.explain().await?;
    story.teller.summary();
    story.stay().await
}

struct Story<'a> {
    teller: &'a mut Teller,
    shop: &'a Shop<'a>,
}

impl Story<'_> {
    async fn changes(&mut self) -> Result<()> {
        let two = r#"patch secret payment -p {"stringData":{"password":"two"}}"#;
        self.teller
            .step("A Secret changes. checkout uses it; legacy does, too, but has not opted in");
        self.expect(CHECKOUT, two).await?;
        self.teller
            .step("The Secret is deleted and made again, with the same content");
        self.run("delete secret payment").await?;
        let again = "create secret generic payment --from-literal=password=two";
        self.expect(NONE, again).await?;
        self.teller.step("A label on the Secret");
        self.expect(NONE, "label secret payment team=payments")
            .await
    }

    async fn deploys(&mut self) -> Result<()> {
        self.teller
            .step("A deploy: the Secret changes, and checkout gets a new image");
        self.expect(CHECKOUT, "apply -f examples/demo/release-2.yaml")
            .await?;
        self.teller
            .step("The same manifest is applied again, and then replaces what is there");
        self.run("apply -f examples/demo/release-2.yaml").await?;
        self.expect(NONE, "replace -f examples/demo/release-2.yaml")
            .await
    }

    async fn without_webhook(&mut self, mut webhook: Restamp) -> Result<()> {
        self.teller.step(
            "The webhook is killed. A deploy works without it; the watcher adds the rollout for the Secret",
        );
        self.teller.command(&format!("kill -9 {}", webhook.id()));
        webhook.kill()?;
        self.expect(CHECKOUT_TWICE, "apply -f examples/demo/release-3.yaml")
            .await
    }

    async fn outage(&mut self, mut watcher: Restamp) -> Result<Restamp> {
        self.teller
            .step("The watcher is killed, and a ConfigMap changes while it is down");
        let before = self.shop.revisions().await?;
        self.teller.command(&format!("kill -9 {}", watcher.id()));
        watcher.kill()?;
        self.run(r#"patch configmap products -p {"data":{"fruit":"plums"}}"#)
            .await?;
        self.shop.until_pods_are_new().await?;
        self.report(before, NONE, None).await?;

        self.teller.step(
            "A watcher starts. The Lease of the dead one has to run out first, which takes up to 20 s",
        );
        let start = Instant::now();
        let watcher = self.shop.ground.start_watcher()?;
        self.teller
            .command(&format!("restamp watcher    # process {}", watcher.id()));
        self.until_expected(before, CATALOG, start).await?;
        Ok(watcher)
    }

    /// Runs a command, waits until all that may follow has followed, and compares the rollouts.
    async fn expect(&mut self, expected: Revisions, command: &str) -> Result<()> {
        let before = self.shop.revisions().await?;
        let start = Instant::now();
        self.run(command).await?;
        self.until_expected(before, expected, start).await
    }

    async fn until_expected(
        &mut self,
        before: Revisions,
        expected: Revisions,
        start: Instant,
    ) -> Result<()> {
        let mut took = None;
        if expected != NONE {
            // If it takes too long, the revisions will show it.
            took = self.shop.until_rolled(before, expected).await.ok();
        }
        let took = took.map(|()| start.elapsed());
        self.shop.until_quiet().await?;
        self.report(before, expected, took).await
    }

    async fn report(
        &mut self,
        before: Revisions,
        expected: Revisions,
        took: Option<Duration>,
    ) -> Result<()> {
        let after = self.shop.revisions().await?;
        let rows = NAMES.iter().zip(before).zip(after).zip(expected);
        for (((name, before), after), rolls) in rows {
            let took = took.filter(|_| rolls > 0);
            self.teller
                .revision(name, before, after, before + rolls, took);
        }
        Ok(())
    }

    async fn explain(&mut self) -> Result<()> {
        self.teller.step("What the watcher would do, and why");
        for workload in ["deployment/checkout", "deployment/legacy"] {
            let args = ["explain", workload, "-n", NAMESPACE];
            self.teller.command(&format!("restamp {}", shown(&args)));
            let text = self.shop.ground.restamp(&args).await?;
            text.lines().for_each(|line| self.teller.line(line));
        }
        Ok(())
    }

    async fn stay(&mut self) -> Result<()> {
        let somebody_is_there = stdin().is_terminal() && stdout().is_terminal();
        if !somebody_is_there || !self.teller.failed().is_empty() {
            return Ok(());
        }
        self.teller.title("Look around");
        for command in self.shop.ground.hints() {
            self.teller.command(&command);
        }
        self.teller
            .line("Enter or Ctrl-C stops everything and takes the cluster down.");
        tell::until_enter().await
    }

    /// Runs kubectl in the shop. No argument has a space in it.
    async fn run(&mut self, command: &str) -> Result<()> {
        let args: Vec<_> = ["-n", NAMESPACE]
            .into_iter()
            .chain(command.split(' '))
            .collect();
        self.teller.command(&format!("kubectl {}", shown(&args)));
        self.shop.ground.kubectl(&args).await.map(drop)
    }
}

/// Arguments as one would type them.
fn shown(args: &[&str]) -> String {
    let quoted = |arg: &&str| match arg.contains('{') {
        true => format!("'{arg}'"),
        false => (*arg).to_owned(),
    };
    args.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
