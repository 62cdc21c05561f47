//! A running process of Restamp: a watcher or a webhook.

use std::{env, path::Path, process::Command};

use restamp_test_cluster::install::Process;

use super::{
    ground::{free_port, restamp},
    wait::until,
};

/// A process of Restamp. It ends with this handle.
pub struct Replica {
    process: Process,
    admin: u16,
}

impl Replica {
    /// Starts `restamp` with these arguments and somebody's rights.
    pub fn start(args: &[&str], kubeconfig: &Path, log: &Path) -> Self {
        let mut command = Command::new(restamp());
        command.args(args).env("KUBECONFIG", kubeconfig);
        Self::run(command, log)
    }

    /// Starts a command that ends with arguments of `restamp`.
    pub fn run(mut command: Command, log: &Path) -> Self {
        let admin = free_port();
        command.args(["--admin-listen", &format!("127.0.0.1:{admin}")]);
        if env::var_os("RESTAMP_LOG_LEVEL").is_none() {
            command.env("RESTAMP_LOG_LEVEL", "info,restamp=debug");
        }
        let process = Process::start(command, log).expect("restamp starts");
        Self { process, admin }
    }

    /// Asks one of its HTTP endpoints; gives the status line and the body.
    pub async fn http(&self, path: &str) -> std::io::Result<(u16, String)> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.admin)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: restamp\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .unwrap_or_default();
        let body = answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default();
        Ok((status, body))
    }

    /// Waits until it has listed everything.
    pub async fn until_ready(&self) {
        until("the process is ready", async || {
            match self.http("/readyz").await {
                Ok((200, _)) => Ok(()),
                other => Err(format!("{other:?}\n{}", self.log())),
            }
        })
        .await;
    }

    /// Waits until it leads, and has compared everything once.
    pub async fn until_leading(&self) {
        self.until_ready().await;
        until("the watcher leads", async || {
            match self.metric("restamp_leader").await {
                leads if leads > 0.0 => Ok(()),
                _ => Err(self.log()),
            }
        })
        .await;
    }

    /// The value of a metric, summed over the series that contain `part`; 0 if there is none.
    pub async fn metric(&self, part: &str) -> f64 {
        let (_, text) = self.http("/metrics").await.unwrap_or_default();
        text.lines()
            .filter(|line| !line.starts_with('#') && line.contains(part))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Everything that it logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Crashes it.
    pub fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
    }

    /// Asks it to stop.
    pub fn terminate(&mut self) {
        self.process.terminate().expect("it can be asked");
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(mut self) {
        self.terminate();
        self.until_stopped().await;
    }

    /// Waits until it has stopped, in good order.
    pub async fn until_stopped(mut self) {
        let status = self
            .process
            .wait(super::wait::deadline())
            .await
            .expect("it stops");
        assert!(status.success(), "{status}: {}", self.log());
    }
}
