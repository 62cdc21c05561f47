//! `up`: a cluster that others command by standard input.

use crate::{
    binaries::{self, Binaries, KUBERNETES},
    events::{Signals, code, commands},
    nodes::Real,
    progress::say,
    supervisor::Cluster,
};
use anyhow::{Context, Result, bail};
use restamp_test_cluster::{Endpoints, Part};
use std::{
    fmt::Display,
    future::pending,
    io::{Write, stdout},
    path::Path,
    time::Instant,
};
use tokio::sync::mpsc::UnboundedReceiver;

/// Runs a cluster until standard input ends, or with `stay` until a signal.
pub(crate) async fn run(dir: Option<&Path>, stay: bool) -> Result<u8> {
    // Before we listen for signals: a build blocks, and a signal is to end it.
    let binaries = binaries::ensure(&KUBERNETES)?;
    let mut signals = Signals::listen()?;
    tokio::select! {
        signal = signals.next() => Ok(if stay { 0 } else { code(signal.as_raw()) }),
        ended = serve(binaries, dir, stay) => ended.map(|()| 0),
    }
}

/// Starts a cluster and says how long that took.
pub(crate) async fn start(
    binaries: Binaries,
    dir: Option<&Path>,
    real: Option<Real>,
) -> Result<Cluster> {
    let started = Instant::now();
    say(format_args!("starting Kubernetes {}", binaries.version()));
    let cluster = match real {
        None => Cluster::start(binaries, dir).await?,
        Some(real) => Cluster::with_nodes(binaries, real).await?,
    };
    let took = started.elapsed().as_secs_f32();
    say(format_args!("the cluster is ready after {took:.1} s"));
    Ok(cluster)
}

async fn serve(binaries: Binaries, dir: Option<&Path>, stay: bool) -> Result<()> {
    let mut cluster = start(binaries, dir, None).await?;
    let mut input = if stay {
        print(human(&cluster.endpoints()))?;
        None
    } else {
        print(serde_json::to_string(&cluster.endpoints())?)?;
        Some(commands())
    };
    loop {
        tokio::select! {
            line = next(input.as_mut()) => match line {
                Some(line) => print(answer(obey(&mut cluster, &line).await))?,
                None => return Ok(()),
            },
            never = cluster.watch() => match never {},
        }
    }
}

async fn next(input: Option<&mut UnboundedReceiver<String>>) -> Option<String> {
    match input {
        Some(input) => input.recv().await,
        None => pending().await,
    }
}

async fn obey(cluster: &mut Cluster, line: &str) -> Result<()> {
    let (verb, part) = line.trim().split_once(' ').unwrap_or((line, ""));
    let part: Part = part.trim().parse().map_err(anyhow::Error::msg)?;
    match verb {
        "stop" => cluster.stop_part(part),
        "start" => cluster.start_part(part).await,
        "restart" => {
            cluster.stop_part(part)?;
            cluster.start_part(part).await
        }
        _ => bail!("there is no command {verb:?}; the commands are stop, start and restart"),
    }
}

/// One line, whatever the error says.
fn answer(outcome: Result<()>) -> String {
    match outcome {
        Ok(()) => "ok".to_owned(),
        Err(error) => format!("error: {error:#}").replace('\n', "; "),
    }
}

fn human(endpoints: &Endpoints) -> String {
    let kubeconfig = endpoints.kubeconfig.display();
    format!(
        "\nThe cluster is running. Its files are in {}\n\
         \n  kubeconfig  {kubeconfig}\
         \n  audit log   {}\
         \n  kubectl     {}\n\
         \nIn another terminal:\n\
         \n  export KUBECONFIG={kubeconfig}\n\
         \nCtrl-C stops it.",
        endpoints.dir.display(),
        endpoints.audit_log.display(),
        endpoints.kubectl.display(),
    )
}

fn print(text: impl Display) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .context("nobody reads standard output any more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_line() {
        assert_eq!(answer(Ok(())), "ok");
        let error = anyhow::anyhow!("log:\na\nb").context("no");
        assert_eq!(answer(Err(error)), "error: no: log:; a; b");
    }

    #[test]
    fn people_are_told_what_to_type() {
        let text = human(&Endpoints {
            kubeconfig: "/d/admin.kubeconfig".into(),
            audit_log: "/d/audit.log".into(),
            kubectl: "/c/kubectl".into(),
            dir: "/d".into(),
        });
        assert!(text.contains("\n  export KUBECONFIG=/d/admin.kubeconfig\n"));
        assert!(text.contains("/c/kubectl") && text.ends_with("Ctrl-C stops it."));
    }
}
