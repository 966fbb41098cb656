//! The way of an answer: a service that writes whatever it likes, from bytes that are no HTTP/2 to protobuf that
//! is nearly right. The call ends, and never says "deleted" where no answer said so.
#![no_main]

use std::{cell::Cell, collections::VecDeque, io, sync::Arc, time::Duration};

use arbitrary::Arbitrary;
use clarifai_annotations::{
    client::{Call, Client},
    config::{Arguments, Limits, Rate, Settings},
    ids::{Column, ColumnBuilder, Targets},
    report::Outcome,
    wire::{
        StatusCode,
        api::{ListAnnotationsRequest, MultiAnnotationResponse, status},
    },
};
use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[derive(Arbitrary, Debug)]
struct Script {
    form: Form,
    names: u8,
    batch_size: u8,
    max_attempts: u8,
    /// Before any request is read.
    greeting: Option<Vec<u8>>,
    /// One for each request; then the connection ends.
    answers: Vec<Answer>,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Form {
    Single,
    Pairs,
    Inputs,
}

#[derive(Arbitrary, Debug)]
enum Answer {
    Bytes(Vec<u8>),
    Frames(Vec<Frame>),
    Message { http: Http, content_type: Option<Vec<u8>>, body: Body, trailers: Trailers },
    Nothing,
}

#[derive(Arbitrary, Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    connection: bool,
    payload: Vec<u8>,
}

/// As HPACK's table of well-known headers has them.
#[derive(Arbitrary, Debug, Clone, Copy)]
enum Http {
    Ok = 0x88,
    NoContent = 0x89,
    NotModified = 0x8b,
    BadRequest = 0x8c,
    NotFound = 0x8d,
    Internal = 0x8e,
}

#[derive(Arbitrary, Debug)]
enum Body {
    Raw(Vec<u8>),
    Grpc(Vec<u8>),
    Status { code: Code, description: Vec<u8>, rest: Vec<u8> },
    /// Of what was asked for, those whose bit is set.
    Listed { code: Code, which: u64, others: Vec<Vec<u8>> },
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Code {
    Success,
    NotThere,
    Mixed,
    Throttled,
    Token,
    Internal,
    Other(i32),
}

#[derive(Arbitrary, Debug)]
enum Trailers {
    Ok,
    Status(u8, Vec<u8>),
    Raw(Vec<u8>),
    None,
}

impl Code {
    fn number(self) -> i32 {
        match self {
            Self::Success => StatusCode::Success as i32,
            Self::NotThere => StatusCode::ConnDoesNotExist as i32,
            Self::Mixed => StatusCode::MixedStatus as i32,
            Self::Throttled => StatusCode::ConnThrottled as i32,
            Self::Token => StatusCode::ConnTokenInvalid as i32,
            Self::Internal => StatusCode::InternalUncategorized as i32,
            Self::Other(code) => code,
        }
    }
}

const HEADERS: u8 = 1;
const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(wire: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let payload = &payload[..payload.len().min(16_384)];
    wire.extend(&(payload.len() as u32).to_be_bytes()[1..]);
    wire.extend([kind, flags]);
    wire.extend(stream.to_be_bytes());
    wire.extend(payload);
}

/// A header in HPACK's simplest form.
fn header(block: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    block.push(0);
    for text in [name, value] {
        let text = &text[..text.len().min(126)];
        block.push(text.len() as u8);
        block.extend(text);
    }
}

fn status_of(code: Code, description: &[u8]) -> status::Status {
    let description = String::from_utf8_lossy(description).into_owned();
    status::Status { code: code.number(), description, ..Default::default() }
}

fn grpc(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend((message.len() as u32).to_be_bytes());
    framed.extend(message);
    framed
}

impl Body {
    fn bytes(&self, request: &[u8]) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes.clone(),
            Self::Grpc(message) => grpc(message),
            Self::Status { code, description, rest } => {
                let answer = status::BaseResponse { status: Some(status_of(*code, description)) };
                grpc(&[answer.encode_to_vec(), rest.clone()].concat())
            }
            Self::Listed { code, which, others } => {
                let asked = ListAnnotationsRequest::decode(request.get(5..).unwrap_or_default()).unwrap_or_default();
                let annotation = |(input_id, id): (&String, &String)| {
                    let mut bytes = Vec::new();
                    prost::encoding::string::encode(1, id, &mut bytes);
                    prost::encoding::string::encode(2, input_id, &mut bytes);
                    bytes.into()
                };
                let pairs = asked.input_ids.iter().zip(&asked.ids).enumerate();
                let mut annotations: Vec<_> = pairs
                    .filter(|(index, _)| which >> (index % 64) & 1 == 1)
                    .map(|(_, pair)| annotation(pair))
                    .collect();
                annotations.extend(others.iter().cloned().map(Into::into));
                let status = Some(status_of(*code, b""));
                grpc(&MultiAnnotationResponse { status, annotations }.encode_to_vec())
            }
        }
    }
}

impl Answer {
    fn bytes(&self, stream: u32, request: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        match self {
            Self::Bytes(bytes) => wire.extend(bytes),
            Self::Frames(frames) => {
                for it in frames {
                    frame(&mut wire, it.kind, it.flags, if it.connection { 0 } else { stream }, &it.payload);
                }
            }
            Self::Message { http, content_type, body, trailers } => {
                let mut block = vec![*http as u8];
                header(&mut block, b"content-type", content_type.as_deref().unwrap_or(b"application/grpc"));
                frame(&mut wire, HEADERS, END_HEADERS, stream, &block);
                frame(&mut wire, DATA, 0, stream, &body.bytes(request));
                let mut block = Vec::new();
                match trailers {
                    Trailers::Ok => header(&mut block, b"grpc-status", b"0"),
                    Trailers::Status(code, message) => {
                        header(&mut block, b"grpc-status", code.to_string().as_bytes());
                        header(&mut block, b"grpc-message", message);
                    }
                    Trailers::Raw(bytes) => block.extend(bytes),
                    Trailers::None => {}
                }
                frame(&mut wire, HEADERS, END_HEADERS | END_STREAM, stream, &block);
            }
            Self::Nothing => {}
        }
        wire
    }
}

/// A service that follows a script, and remembers whether it may have said "done".
struct Service<'a> {
    script: &'a Script,
    answers: VecDeque<&'a Answer>,
    may_have_said_success: &'a Cell<bool>,
}

impl Service<'_> {
    async fn serve(mut self, listener: TcpListener) {
        loop {
            if let Ok((peer, _)) = listener.accept().await {
                let _broken = self.converse(peer).await;
            }
        }
    }

    /// Answers the requests of a connection, until the script or the connection ends.
    async fn converse(&mut self, mut peer: TcpStream) -> io::Result<()> {
        let mut wire = Vec::new();
        match &self.script.greeting {
            Some(greeting) => wire.extend(greeting),
            None => frame(&mut wire, SETTINGS, 0, 0, &[]),
        }
        self.write(&mut peer, &wire).await?;
        peer.read_exact(&mut [0; 24]).await?;
        loop {
            let mut head = [0; 9];
            peer.read_exact(&mut head).await?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            peer.read_exact(&mut payload).await?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let mut wire = Vec::new();
            if head[3] == DATA && head[4] & END_STREAM != 0 {
                let Some(answer) = self.answers.pop_front() else { return Ok(()) };
                wire = answer.bytes(stream, &payload);
            } else if head[3] == SETTINGS && head[4] == 0 {
                frame(&mut wire, SETTINGS, ACK, 0, &[]);
            }
            self.write(&mut peer, &wire).await?;
        }
    }

    async fn write(&self, peer: &mut TcpStream, wire: &[u8]) -> io::Result<()> {
        // The code of success as a varint, in one piece or in two, and perhaps longer than it need be.
        let success = wire.contains(&0x90) && wire.iter().any(|byte| byte & 0x7f == 0x4e);
        self.may_have_said_success.set(self.may_have_said_success.get() || success);
        peer.write_all(wire).await
    }
}

fn column(prefix: &str, count: usize) -> Column {
    let mut column = ColumnBuilder::new("ids");
    (0..count).for_each(|n| column.push(&format!("{prefix}{n}")).unwrap());
    column.finish()
}

/// What became of each ID.
async fn delete(script: &Script, port: u16) -> Vec<Outcome> {
    let limits = Limits {
        requests_per_second: Rate::Unlimited,
        batch_size: usize::from(script.batch_size % 8) + 1,
        max_in_flight: 2,
        request_timeout: Duration::from_secs(5),
        max_attempts: u32::from(script.max_attempts % 3) + 1,
        ..Limits::default()
    };
    let arguments = Arguments {
        user_id: Some("me".into()),
        app_id: Some("cats".into()),
        pat: Some("made-up".into()),
        base_url: Some(format!("http://127.0.0.1:{port}")),
        limits,
        ..Arguments::default()
    };
    let client = Client::new(Settings::resolve(arguments, &|_| None).unwrap()).unwrap();
    let count = usize::from(script.names % 12) + 1;
    let targets = match script.form {
        Form::Single => Targets::pairs(column("p", 1), column("a", 1)),
        Form::Pairs => Targets::pairs(column("p", count), column("a", count)),
        Form::Inputs => Targets::inputs(column("p", count)),
    };
    let call = Arc::new(Call::new(targets.unwrap(), Some(Duration::from_secs(600))));
    if matches!(script.form, Form::Single) {
        return match client.delete_one(&call, false).await {
            Ok(()) => vec![Outcome::Deleted],
            Err(failure) => {
                assert!(!failure.error.to_string().is_empty());
                vec![failure.outcome]
            }
        };
    }
    let report = client.delete(&call).await.unwrap();
    assert_eq!(Outcome::ALL.iter().map(|&outcome| report.count(outcome)).sum::<usize>(), count);
    assert!(!report.summary().is_empty());
    (0..count).map(|id| report.outcome(id)).collect()
}

fuzz_target!(|script: Script| {
    fastrand::seed(0);
    // Time passes only while nothing else can be done: a wait costs none.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let may_have_said_success = Cell::new(false);
        let answers = script.answers.iter().collect();
        let service = Service { script: &script, answers, may_have_said_success: &may_have_said_success };
        let outcomes = tokio::select! {
            outcomes = delete(&script, port) => outcomes,
            () = service.serve(listener) => unreachable!("it serves without end"),
        };
        if !may_have_said_success.get() {
            let told = |outcome: &Outcome| matches!(outcome, Outcome::Deleted | Outcome::Absent);
            assert!(!outcomes.iter().any(told), "{outcomes:?}, and no answer said so");
        }
    });
});
