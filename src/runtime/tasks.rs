//! The long-running tasks of a process: none may end before it is told to.

use std::{io, time::Duration};

use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

/// Why a process ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A task ended.
    #[error("the {0} task ended")]
    Ended(&'static str),
    /// The HTTP endpoints broke.
    #[error("the HTTP endpoints broke")]
    Http(#[source] io::Error),
    /// A task panicked.
    #[error("a task panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

/// The tasks of a process, and the order to end.
pub struct Tasks {
    set: JoinSet<Result<&'static str, TaskError>>,
    shutdown: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    pub fn new(shutdown: CancellationToken) -> Self {
        Self {
            set: JoinSet::new(),
            shutdown,
        }
    }

    /// Starts a task that is dropped at the order to end.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.spawn_orderly(name, async move {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                () = task => {}
            }
            Ok(())
        });
    }

    /// Starts a task that ends by itself at the order to end.
    pub fn spawn_orderly(
        &mut self,
        name: &'static str,
        task: impl Future<Output = io::Result<()>> + Send + 'static,
    ) {
        self.set.spawn(async move {
            task.await.map_err(TaskError::Http)?;
            Ok(name)
        });
    }

    /// Waits until a task ends before the order to end, which ends the rest, or until all have ended after
    /// it, for which they have `last_words`.
    ///
    /// # Errors
    /// When a task ended by itself: the process then has to be restarted.
    pub async fn run(mut self, last_words: Duration) -> Result<(), TaskError> {
        let deadline = async {
            self.shutdown.cancelled().await;
            sleep(last_words).await;
        };
        let all = async {
            while let Some(ended) = self.set.join_next().await {
                let name = ended.map_err(TaskError::Panicked)??;
                if !self.shutdown.is_cancelled() {
                    return Err(TaskError::Ended(name));
                }
            }
            Ok(())
        };
        tokio::select! {
            biased;
            ended = all => ended,
            // Somebody keeps a connection open.
            () = deadline => Ok(()),
        }
    }
}
