//! An annotation service in this process, for tests, demos and benchmarks. It knows neither Python nor the
//! client.
//!
//! | file | its one job |
//! |---|---|
//! | `mod` | start, stop, suspend |
//! | `listener` | the port and its connections |
//! | `grpc`, `rest` | the two faces, on one port |
//! | `service` | a request's way, and what a test puts there and sees |
//! | `access`, `quota`, `faults` | who may, how often, and what goes wrong |
//! | `read`, `post`, `delete` | what each method does |
//! | `operation` | what they have in common |
//! | `undocumented` | the ways in which a method may behave where Clarifai's documentation is silent |
//! | `status` | what an answer says about how the request went |
//! | `workers` | who made an annotation |
//! | `store` | what is there |
//! | `log` | what it saw |
//! | `tls` | throw-away certificates |

mod access;
mod delete;
mod faults;
mod grpc;
mod listener;
mod log;
mod operation;
mod post;
mod quota;
mod read;
mod rest;
mod service;
mod status;
mod store;
mod tls;
mod undocumented;
mod workers;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    ops::Deref,
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc::Sender},
    thread::JoinHandle,
};

use axum::extract::DefaultBodyLimit;
use tokio::{runtime, sync::mpsc};
use tonic::service::Routes;

pub use self::{
    access::{Access, Keys},
    faults::{Fault, FaultKind},
    log::RecordedRequest,
    operation::METHODS,
    quota::{Counting, Quota},
    rest::annotation_from_json,
    service::{Conduct, SeedError, Service, Spread, StoredAnnotation},
    status::SuccessCode,
    undocumented::{ForeignPost, MissingInput, MissingPair, MissingSingle, RefusedPair, Undocumented},
};
use self::{listener::Command, tls::Tls};
use crate::{process, wire::api::v2_server::V2Server};

/// User and app that stand wherever a test does not care.
pub const DEFAULT_USER_ID: &str = "emulator-user";
/// See [`DEFAULT_USER_ID`].
pub const DEFAULT_APP_ID: &str = "emulator-app";

/// How an emulator is to be run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The loopback port to listen on; 0 for a free one.
    pub port: u16,
    /// Whether to speak TLS, with a certificate of a throw-away authority.
    pub tls: bool,
    /// How the service behaves.
    pub conduct: Conduct,
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
    tls: Option<Tls>,
    running: Mutex<Option<Running>>,
    /// That it runs in.
    process: u32,
}

struct Running {
    commands: mpsc::UnboundedSender<Command>,
    thread: JoinHandle<()>,
}

impl Emulator {
    /// Starts a service on the loopback interface, on threads of its own.
    ///
    /// # Errors
    /// The port is taken, the system gives no thread, or the authority's file cannot be written.
    pub fn start(options: Options) -> io::Result<Self> {
        let tls = options.tls.then(Tls::new).transpose()?;
        let service = Arc::new(Service::new(options.conduct));
        // The service itself says which message is too large, in Clarifai's words.
        let face = V2Server::new(grpc::Face(Arc::clone(&service)))
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let router = rest::with_rest(Routes::new(face).into_axum_router(), Arc::clone(&service))
            .layer(DefaultBodyLimit::disable());

        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))?;
        bound.set_nonblocking(true)?;
        let address = bound.local_addr()?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("clarifai-emulator")
            .enable_all()
            .build()?;
        let bound = {
            let _context = runtime.enter();
            tokio::net::TcpListener::from_std(bound)?
        };
        let (commands, received) = mpsc::unbounded_channel();
        let acceptor = tls.as_ref().map(|tls| tls.acceptor.clone());
        let serve = listener::serve(bound, address, acceptor, router, received);
        // Leaving the thread drops the runtime, and with it every connection.
        let thread = std::thread::Builder::new()
            .name("clarifai-emulator".into())
            .spawn(move || runtime.block_on(serve))?;
        Ok(Self {
            process: process::generation(),
            service,
            address,
            tls,
            running: Mutex::new(Some(Running { commands, thread })),
        })
    }

    /// Where it listens, for example `http://127.0.0.1:43121`.
    pub fn base_url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// The file with the certificate of its authority, where it speaks TLS. It goes with the emulator.
    pub fn root_certificates_path(&self) -> Option<&Path> {
        self.tls.as_ref().map(Tls::root_certificates_path)
    }

    /// Is gone: stops listening and cuts off every connection, until [`resume`](Self::resume).
    ///
    /// # Errors
    /// It was stopped.
    pub fn suspend(&self) -> io::Result<()> {
        self.command(Command::Suspend)
    }

    /// Is back, on the same port.
    ///
    /// # Errors
    /// It was stopped, or another program has the port now.
    pub fn resume(&self) -> io::Result<()> {
        self.command(Command::Resume)
    }

    fn command(&self, command: fn(Sender<io::Result<()>>) -> Command) -> io::Result<()> {
        let stopped = || io::Error::new(io::ErrorKind::NotConnected, "the emulator was stopped");
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let commands = running.as_ref().map(|running| running.commands.clone()).ok_or_else(stopped)?;
        drop(running);
        // The standard library's channel, for tokio's may not be waited for in a task of its own.
        let (done, answer) = std::sync::mpsc::channel();
        commands.send(command(done)).map_err(|_| stopped())?;
        answer.recv().map_err(|_| stopped())?
    }

    /// Stops serving, closes every connection and waits for its threads. What was stored stays to be looked at.
    pub fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if self.process != process::generation() {
            // It goes on in the process that this one was forked from.
            std::mem::forget(running);
        } else if let Some(Running { commands, thread }) = running {
            if let Some(tls) = &self.tls {
                tls.discard();
            }
            drop(commands);
            // It can only have panicked, and then there is nothing to stop.
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
        if self.process != process::generation() {
            // Nor is the authority's file ours to remove.
            std::mem::forget(self.tls.take());
        }
    }
}
