//! A process of a release, with the rights, flags and variables that the release gives it.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
};

use restamp_test_cluster::install::Process;
use serde_json::Value;

use super::{
    helm::{kubeconfig_of, until},
    objects::{Id, container, list, one},
    release::Release,
};

/// While it runs.
pub struct Started {
    pub process: Process,
    admin: u16,
}

impl Started {
    pub fn new(release: &Release, component: &str, more: &[&str]) -> Self {
        let objects: BTreeMap<Id, Value> = release.objects();
        let name = format!("{}-{component}", release.name);
        let deployment = one(&objects, "Deployment", &name);
        let account = &deployment["spec"]["template"]["spec"]["serviceAccountName"];
        let home = &release.home;
        let kubeconfig = kubeconfig_of(home.folder(), &home.name, account.as_str().unwrap());
        let admin = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_restamp"));
        command
            .args(list(&container(deployment)["args"]))
            .args(["--admin-listen", &format!("127.0.0.1:{admin}")])
            .args(more)
            .env("KUBECONFIG", kubeconfig)
            .env("RESTAMP_NAMESPACE", &home.name);
        for variable in container(deployment)["env"].as_array().unwrap() {
            if let Some(value) = variable["value"].as_str() {
                command.env(variable["name"].as_str().unwrap(), value);
            }
        }
        let log = home.folder().join(format!("{component}.log"));
        let process = Process::start(command, &log).unwrap();
        Self { process, admin }
    }

    fn get(&self, path: &str) -> Result<String, String> {
        let ask = || {
            let mut stream = TcpStream::connect(("127.0.0.1", self.admin))?;
            let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().map_err(|error: std::io::Error| error.to_string())
    }

    pub fn until_ready(&self) {
        until("the process is ready", || match self.get("/readyz") {
            Ok(answer) if answer.starts_with("HTTP/1.1 200") => Ok(()),
            other => Err(format!("{other:?}\n{}", self.process.log())),
        });
    }

    pub fn until_leading(&self) {
        self.until_ready();
        until("the watcher leads", || {
            let metrics = self.get("/metrics")?;
            let leads = metrics.contains("\nrestamp_leader 1\n");
            leads.then_some(()).ok_or_else(|| self.process.log())
        });
    }

    pub fn has_its_rights(&self) {
        let log = self.process.log();
        assert!(!log.contains("grant this right"), "{log}");
    }
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
