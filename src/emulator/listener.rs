//! The port: connections are accepted, served, told to go away, cut off. HTTP/1.1 and HTTP/2 on the same port,
//! in clear or in TLS. Knows nothing of what is served.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, mpsc::Sender},
};

use axum::Router;
use http::Request;
use hyper::{
    body::Incoming,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::TlsAcceptor;

/// The connection that a request came on, as a handler may treat it; and when the request came.
#[derive(Clone)]
pub struct Connection {
    signals: Arc<Signals>,
    /// When the request was read, however long it waited to be handled.
    pub arrived_at: Instant,
}

impl Default for Connection {
    fn default() -> Self {
        Self { signals: Arc::default(), arrived_at: Instant::now() }
    }
}

#[derive(Default)]
struct Signals {
    sever: Notify,
    go_away: Notify,
}

impl Connection {
    /// Cuts it off at once; whatever else is under way on it is lost as well.
    pub fn sever(&self) {
        self.signals.sever.notify_one();
    }

    /// Lets what is under way end, and nothing more begin.
    pub fn go_away(&self) {
        self.signals.go_away.notify_one();
    }
}

/// What a running listener can be told. Each is answered when it is done.
pub enum Command {
    /// Stop listening and cut off every connection.
    Suspend(Sender<io::Result<()>>),
    /// Listen again, on the same port.
    Resume(Sender<io::Result<()>>),
}

/// Serves until nobody can give commands any more.
pub async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    router: Router,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut listener = Some(listener);
    loop {
        let command = match &listener {
            Some(listener) => tokio::select! {
                command = commands.recv() => command,
                () = accept(listener, tls.as_ref(), &router) => None,
            },
            None => commands.recv().await,
        };
        // Whoever gave a command may have stopped waiting for it.
        match command {
            None => return,
            Some(Command::Suspend(done)) => {
                listener = None;
                let _ = done.send(Ok(()));
            }
            Some(Command::Resume(done)) if listener.is_some() => {
                let _ = done.send(Ok(()));
            }
            Some(Command::Resume(done)) => {
                let bound = TcpListener::bind(address).await;
                let _ = done.send(bound.map(|bound| listener = Some(bound)));
            }
        }
    }
}

/// Accepts connections without end. To drop this cuts all of them off.
async fn accept(listener: &TcpListener, tls: Option<&TlsAcceptor>, router: &Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // An error here is that of one connection, or passes: too many open files.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, tls.cloned(), router.clone()));
                } else {
                    tokio::task::yield_now().await;
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router) {
    // Answers are small; without this they wait for one another.
    let _ = stream.set_nodelay(true);
    match tls {
        None => converse(stream, router).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                converse(stream, router).await;
            }
        }
    }
}

async fn converse(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    router: Router,
) {
    let connection = Connection::default();
    let signals = Arc::clone(&connection.signals);
    let router = TowerToHyperService::new(router);
    // This is called when the request is read; the router is polled later, when a thread is free.
    let service = service_fn(move |mut request: Request<Incoming>| {
        let arrived_at = Instant::now();
        request.extensions_mut().insert(Connection { arrived_at, ..connection.clone() });
        router.call(request)
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut conversation = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    loop {
        tokio::select! {
            _ = conversation.as_mut() => return,
            () = signals.sever.notified() => return,
            () = signals.go_away.notified() => conversation.as_mut().graceful_shutdown(),
        }
    }
}
