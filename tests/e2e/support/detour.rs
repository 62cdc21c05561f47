//! A way to a server that can be led elsewhere or blocked, as those of Services and networks are.

use std::net::SocketAddr;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Where connections go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// New ones go there. Those that are open stay where they are.
    To(SocketAddr),
    /// All break.
    Closed,
    /// All stay open, and nothing is heard on them any more.
    Silent,
}

/// The way, as long as it is held.
pub struct Detour {
    address: SocketAddr,
    way: watch::Sender<Way>,
    _carriers: JoinSet<()>,
}

impl Detour {
    /// A way to a server, from a port of its own.
    pub async fn to(server: SocketAddr) -> Detour {
        Self::with(Way::To(server)).await
    }

    /// A way that leads nowhere yet.
    pub async fn to_nowhere() -> Detour {
        Self::with(Way::Closed).await
    }

    async fn with(way: Way) -> Detour {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (way, turned) = watch::channel(way);
        let mut carriers = JoinSet::new();
        carriers.spawn(carry_all(listener, turned));
        Detour {
            address,
            way,
            _carriers: carriers,
        }
    }

    /// Where it begins.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Leads elsewhere.
    pub fn turn(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn carry_all(listener: TcpListener, way: watch::Receiver<Way>) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(carry(stream, way.clone()));
        }
    }
}

async fn carry(mut stream: TcpStream, mut way: watch::Receiver<Way>) {
    let start = *way.borrow();
    let mut onward = None;
    if let Way::To(server) = start {
        let Ok(connected) = TcpStream::connect(server).await else {
            return;
        };
        let onward = onward.insert(connected);
        tokio::select! {
            _ = copy_bidirectional(&mut stream, onward) => return,
            _ = way.wait_for(|way| !matches!(way, Way::To(_))) => {}
        }
    }
    // Both ends are kept open until then. An error means that nobody holds the way any more.
    let _ = way.wait_for(|way| *way != Way::Silent).await;
}
