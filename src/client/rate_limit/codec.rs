//! The window as bytes, for processes to share: a checksum, the number of bytes, and the numbers one after the other.

use std::{collections::BTreeMap, time::Duration};

use bytes::{Buf, BufMut};

use super::{
    adaptive::Adaptive,
    window::{Answered, Member, SlidingWindow},
};

/// Changes with the format.
const MAGIC: u64 = u64::from_le_bytes(*b"CARATE01");

/// Magic number, checksum, and the number of the bytes that follow.
const HEAD: usize = 8 + 4 + 4;

/// Writes a window.
pub fn encode(window: &SlidingWindow) -> Vec<u8> {
    let SlidingWindow { rate, members, in_flight, answered, answered_until, adaptive } = window;
    let mut bytes = Vec::with_capacity(HEAD + 256 + 24 * (members.len() + in_flight.len() + answered.len()));
    bytes.put_bytes(0, HEAD);
    bytes.put_f64_le(*rate);
    put_time(&mut bytes, *answered_until);
    adaptive.encode(&mut bytes);
    bytes.put_u32_le(members.len() as u32);
    for member in members {
        bytes.put_u32_le(member.id);
        bytes.put_u32_le(member.process);
        bytes.put_f64_le(member.rate);
        bytes.put_f64_le(member.parts);
        put_time(&mut bytes, member.seen);
        put_optional_time(&mut bytes, member.asks_again_at);
    }
    bytes.put_u32_le(in_flight.len() as u32);
    for (id, sent) in in_flight {
        bytes.put_u64_le(*id);
        put_time(&mut bytes, *sent);
    }
    bytes.put_u32_le(answered.len() as u32);
    for it in answered {
        bytes.put_u64_le(it.id);
        bytes.put_u8(u8::from(it.is_throttled));
        put_time(&mut bytes, it.at);
    }
    let mut head = Vec::with_capacity(HEAD);
    head.put_u64_le(MAGIC);
    head.put_u32_le(crc32fast::hash(&bytes[HEAD..]));
    head.put_u32_le((bytes.len() - HEAD) as u32);
    bytes[..HEAD].copy_from_slice(&head);
    bytes
}

/// Reads a window. `None` where the bytes are damaged, or of another format.
pub fn decode(mut bytes: &[u8]) -> Option<SlidingWindow> {
    if bytes.len() < HEAD || bytes.get_u64_le() != MAGIC {
        return None;
    }
    let (checksum, length) = (bytes.get_u32_le(), bytes.get_u32_le());
    let mut bytes = bytes.get(..length as usize)?;
    if crc32fast::hash(bytes) != checksum {
        return None;
    }
    let bytes = &mut bytes;
    let (rate, answered_until) = (bytes.try_get_f64_le().ok()?, time(bytes)?);
    let adaptive = Adaptive::decode(bytes)?;
    let mut members = Vec::new();
    for _ in 0..bytes.try_get_u32_le().ok()? {
        let (id, process) = (bytes.try_get_u32_le().ok()?, bytes.try_get_u32_le().ok()?);
        let (rate, parts) = (bytes.try_get_f64_le().ok()?, bytes.try_get_f64_le().ok()?);
        let (seen, asks_again_at) = (time(bytes)?, optional_time(bytes)?);
        members.push(Member { id, process, rate, parts, seen, asks_again_at });
    }
    let mut in_flight = BTreeMap::new();
    for _ in 0..bytes.try_get_u32_le().ok()? {
        in_flight.insert(bytes.try_get_u64_le().ok()?, time(bytes)?);
    }
    let mut answered = Vec::new();
    for _ in 0..bytes.try_get_u32_le().ok()? {
        let (id, is_throttled) = (bytes.try_get_u64_le().ok()?, bytes.try_get_u8().ok()? != 0);
        answered.push(Answered { id, is_throttled, at: time(bytes)? });
    }
    Some(SlidingWindow { rate, members, in_flight, answered: answered.into(), answered_until, adaptive })
}

/// Writes a time.
pub fn put_time(bytes: &mut Vec<u8>, time: Duration) {
    bytes.put_u64_le(time.as_nanos() as u64);
}

/// Reads a time.
pub fn time(bytes: &mut &[u8]) -> Option<Duration> {
    bytes.try_get_u64_le().ok().map(Duration::from_nanos)
}

/// Writes a time that there may not be. Nothing happens at the origin.
pub fn put_optional_time(bytes: &mut Vec<u8>, time: Option<Duration>) {
    put_time(bytes, time.unwrap_or_default());
}

/// Reads a time that there may not be.
pub fn optional_time(bytes: &mut &[u8]) -> Option<Option<Duration>> {
    time(bytes).map(|time| Some(time).filter(|time| !time.is_zero()))
}
