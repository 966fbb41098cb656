//! An annotation service in this process, for tests, demos and benchmarks. It knows neither Python nor the
//! client.
//!
//! | file | its one job |
//! |---|---|
//! | `mod` | start, stop, seed, look |
//! | `grpc` | the gRPC face |
//! | `service` | a request's way, and what a test puts there and sees |
//! | `operations` | what each method does |
//! | `access` | keys, scopes, apps |
//! | `store` | what is there |
//! | `log` | what it saw |

mod access;
mod grpc;
mod log;
mod operations;
mod service;
mod store;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use tokio::{net::TcpListener, runtime, sync::oneshot};
use tonic::transport::{Server, server::TcpIncoming};

pub use self::{
    access::{Access, Keys},
    log::RecordedRequest,
    service::{SeedError, Service, StoredAnnotation},
};
use crate::wire::api::v2_server::V2Server;

/// User and app that stand wherever a test does not care.
pub const DEFAULT_USER_ID: &str = "emulator-user";
/// See [`DEFAULT_USER_ID`].
pub const DEFAULT_APP_ID: &str = "emulator-app";

/// As in Clarifai's own client: an annotation may carry a large mask.
const MAX_REQUEST_BYTES: usize = 1 << 30;

/// How an emulator is to behave.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The loopback port to listen on; 0 for a free one.
    pub port: u16,
    /// Who may do what.
    pub access: Access,
}

/// A running service. Seeded and looked at by the methods of [`Service`]; stops when it is dropped.
///
/// ```
/// use clarifai_annotations::emulator::{Emulator, Options};
///
/// let emulator = Emulator::start(Options::default())?;
/// emulator.add_annotation("me", "cats", "photo-1", "box-7", None)?;
/// assert!(emulator.base_url().starts_with("http://127.0.0.1:"));
/// // With its input comes the input-level annotation.
/// assert_eq!(emulator.annotations(Some("me"), None).len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Emulator {
    service: Arc<Service>,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Emulator {
    /// Starts a service on the loopback interface, on threads of its own.
    ///
    /// # Errors
    /// The port is taken, or the system gives no thread.
    pub fn start(options: Options) -> io::Result<Self> {
        let service = Arc::new(Service::new(options.access));
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("clarifai-emulator")
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)))?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let face = V2Server::new(grpc::Face(Arc::clone(&service)))
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .max_encoding_message_size(MAX_REQUEST_BYTES);
        let serve = async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tokio::select! {
                _ = Server::builder().add_service(face).serve_with_incoming(incoming) => {}
                _ = stopped => {}
            }
        };
        // Leaving the thread drops the runtime, and with it every connection.
        let thread = std::thread::Builder::new()
            .name("clarifai-emulator".into())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self { service, address, running: Mutex::new(Some(Running { stop, thread })) })
    }

    /// Where it listens, for example `http://127.0.0.1:43121`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops serving, closes every connection and waits for its threads. What was stored stays to be looked at.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, thread }) = running {
            // Either end may be gone already: then there is nothing to stop.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

impl Deref for Emulator {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop();
    }
}
