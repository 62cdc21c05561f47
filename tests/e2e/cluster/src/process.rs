//! Child processes that never outlive the process that started them.

use std::{
    io,
    process::{Child, Command},
    sync::{LazyLock, mpsc},
    thread,
};

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts `command` so that the kernel kills it when this process ends, however it ends.
///
/// # Errors
/// When the process cannot be started.
pub fn spawn_tied(mut command: Command) -> io::Result<Child> {
    // The kernel watches the thread that started the child, not the process: a test's thread or a
    // worker of a runtime may end long before the child should.
    static SPAWNER: LazyLock<Option<mpsc::Sender<Job>>> = LazyLock::new(start_spawner);

    let unavailable = || io::Error::other("the thread that starts processes is gone");
    tie(&mut command);
    let (reply, answer) = mpsc::channel();
    let spawner = SPAWNER.as_ref().ok_or_else(unavailable)?;
    spawner.send((command, reply)).map_err(|_| unavailable())?;
    answer.recv().map_err(|_| unavailable())?
}

fn start_spawner() -> Option<mpsc::Sender<Job>> {
    let (jobs, queue) = mpsc::channel::<Job>();
    let work = move || {
        for (mut command, reply) in queue {
            if let Err(mpsc::SendError(Ok(mut orphan))) = reply.send(command.spawn()) {
                orphan.kill().ok();
                orphan.wait().ok();
            }
        }
    };
    let spawner = thread::Builder::new().name("spawner".into());
    spawner.spawn(work).ok().map(|_| jobs)
}

#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the death signal can only be set in the child, between fork and exec"
)]
fn tie(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
    use std::os::unix::process::CommandExt;

    let parent = getpid();
    let set = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the signal was set.
        if getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    };
    // SAFETY: the closure makes two system calls; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(set) };
}

#[cfg(not(target_os = "linux"))]
fn tie(_: &mut Command) {}

#[cfg(test)]
mod tests {
    use super::spawn_tied;
    use std::{process::Command, thread};

    #[test]
    fn outlives_the_thread_that_asked_for_it() {
        let mut child = thread::spawn(|| {
            let mut sleep = Command::new("sleep");
            sleep.arg("60");
            spawn_tied(sleep).unwrap()
        })
        .join()
        .unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_missing_program_is_an_error() {
        let error = spawn_tied(Command::new("no-such-program-anywhere")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
}
