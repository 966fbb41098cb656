//! The emulator's REST face: whatever comes is answered in Clarifai's form, and what is refused changes nothing.
#![no_main]

use std::{
    cell::RefCell,
    io::{Read as _, Write as _},
    net::TcpStream,
};

use arbitrary::Arbitrary;
use clarifai_annotations::emulator::{Emulator, Options};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[derive(Arbitrary, Debug)]
struct Request<'a> {
    method: Method,
    path: Path,
    query: Option<Vec<u8>>,
    body: &'a [u8],
}

#[derive(Arbitrary, Debug, PartialEq, Eq)]
enum Method {
    Get,
    Post,
    Delete,
    Patch,
}

#[derive(Arbitrary, Debug)]
enum Path {
    Annotations,
    InputsAnnotations,
    One(Vec<u8>, Vec<u8>),
    OfApp(Vec<u8>, Vec<u8>),
    Other(Vec<u8>),
}

/// Any bytes as a part of a path or a query.
fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// A query keeps what makes it one.
fn query(bytes: &[u8]) -> String {
    let keeps = |byte: &u8| byte.is_ascii_alphanumeric() || b"=&_.%+".contains(byte);
    bytes.iter().map(|byte| if keeps(byte) { char::from(*byte).into() } else { escaped(&[*byte]) }).collect()
}

impl Path {
    fn text(&self) -> String {
        match self {
            Self::Annotations => "/v2/annotations".into(),
            Self::InputsAnnotations => "/v2/users/emulator-user/apps/emulator-app/inputs/annotations".into(),
            Self::One(input_id, id) => format!("/v2/inputs/{}/annotations/{}", escaped(input_id), escaped(id)),
            Self::OfApp(user_id, app_id) => {
                format!("/v2/users/{}/apps/{}/annotations", escaped(user_id), escaped(app_id))
            }
            Self::Other(bytes) => format!("/{}", escaped(bytes)),
        }
    }
}

fn answer(emulator: &Emulator, request: &Request<'_>) -> (u16, Vec<u8>) {
    let address = emulator.base_url().replace("http://", "");
    let query = request.query.as_deref().map_or_else(String::new, |bytes| format!("?{}", query(bytes)));
    let head = format!(
        "{} {}{query} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Key made-up\r\nConnection: close\r\n\
         Content-Length: {}\r\n\r\n",
        format!("{:?}", request.method).to_uppercase(),
        request.path.text(),
        request.body.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    let mut answer = Vec::new();
    stream.write_all(&[head.as_bytes(), request.body].concat()).unwrap();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an HTTP answer");
    let code = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
    (code, answer.split_off(end + 4))
}

/// One emulator for many requests, then another: what they leave there would add up.
fn with_emulator(work: impl FnOnce(&Emulator)) {
    thread_local! {
        static EMULATOR: RefCell<(Option<Emulator>, u32)> = const { RefCell::new((None, 0)) };
    }
    EMULATOR.with_borrow_mut(|(emulator, uses)| {
        if uses.is_multiple_of(500) {
            *emulator = None;
        }
        *uses += 1;
        work(emulator.get_or_insert_with(|| {
            let emulator = Emulator::start(Options::default()).unwrap();
            emulator.add_annotation("emulator-user", "emulator-app", "p", "a", None).unwrap();
            emulator
        }));
    });
}

fuzz_target!(|request: Request<'_>| {
    with_emulator(|emulator| {
        let before = emulator.annotations(None, None);
        let (code, body) = answer(emulator, &request);
        let refused = (400..600).contains(&code);
        assert!(refused || matches!(code, 200 | 207), "HTTP {code}");
        if request.method == Method::Get || refused {
            assert_eq!(emulator.annotations(None, None), before);
        }
        // What is no path at all is refused by the HTTP server itself.
        if !(refused && body.is_empty()) {
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert!(body["status"]["code"].is_number(), "{body}");
        }
    });
});
