//! The request that deletes many, written to the wire from the caller's own columns: no string is made per ID.

use std::sync::Arc;

use bytes::BufMut;
use prost::Message as _;
use tonic::{
    Status,
    codec::{Codec, EncodeBuf, Encoder},
};
use tonic_prost::ProstDecoder;

use crate::{
    ids::Targets,
    wire::api::{DeleteAnnotationsRequest, UserAppIdSet, status::BaseResponse},
};

/// A `DeleteAnnotationsRequest` for some of what a call names.
pub struct Deletion {
    /// The app, as the request's first field.
    user_app: Vec<u8>,
    targets: Arc<Targets>,
    ids: Vec<u32>,
}

impl Deletion {
    /// Pairs go as two lists of one length, whole inputs without `ids`. Which of the two is decided by what
    /// the caller named and by nothing else: `ids` is never empty because there happens to be none.
    pub fn new(user_app_id: UserAppIdSet, targets: Arc<Targets>, ids: Vec<u32>) -> Self {
        let request = DeleteAnnotationsRequest { user_app_id: Some(user_app_id), ..Default::default() };
        Self { user_app: request.encode_to_vec(), targets, ids }
    }

    fn write(&self, wire: &mut impl BufMut) {
        wire.put_slice(&self.user_app);
        let targets = || self.ids.iter().map(|&id| self.targets.get(id as usize));
        targets().filter_map(|target| target.annotation_id).for_each(|id| put_string(wire, Field::Ids, id));
        targets().for_each(|target| put_string(wire, Field::InputIds, target.input_id));
    }
}

/// Fields of the request, as protobuf's keys: the number, and that a length follows.
#[derive(Clone, Copy)]
enum Field {
    Ids = 2 << 3 | 2,
    InputIds = 3 << 3 | 2,
}

fn put_string(wire: &mut impl BufMut, field: Field, text: &str) {
    wire.put_u8(field as u8);
    prost::encode_length_delimiter(text.len(), wire)
        .unwrap_or_else(|_| unreachable!("a buffer that grows has room"));
    wire.put_slice(text.as_bytes());
}

/// Writes deletions and reads their answers.
#[derive(Default)]
pub struct DeletionCodec;

impl Codec for DeletionCodec {
    type Encode = Deletion;
    type Decode = BaseResponse;
    type Encoder = Self;
    type Decoder = ProstDecoder<BaseResponse>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

impl Encoder for DeletionCodec {
    type Item = Deletion;
    type Error = Status;

    fn encode(&mut self, deletion: Deletion, wire: &mut EncodeBuf<'_>) -> Result<(), Status> {
        deletion.write(wire);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::{Column, ColumnBuilder};

    fn column<'a>(ids: impl Iterator<Item = &'a String>) -> Column {
        let mut column = ColumnBuilder::new("ids");
        ids.for_each(|id| column.push(id).unwrap());
        column.finish()
    }

    proptest! {
        #[test]
        fn what_is_written_is_what_the_generated_message_reads(
            pairs in prop::collection::hash_set((".{0,300}[a-z]", ".{0,20}[a-z]"), 0..20), whole_inputs: bool,
        ) {
            let pairs: Vec<_> = pairs.into_iter().collect();
            let input_ids = column(pairs.iter().map(|pair| &pair.0));
            let annotation_ids = column(pairs.iter().map(|pair| &pair.1));
            let targets = if whole_inputs { Targets::inputs(input_ids) } else { Targets::pairs(input_ids, annotation_ids) };
            let targets = Arc::new(targets.unwrap());
            let user_app_id = UserAppIdSet { user_id: "me".into(), app_id: "cats".into() };
            // Every second one, as it is when a batch is sent again.
            let some: Vec<u32> = (0..targets.len() as u32).step_by(2).collect();
            let mut wire = Vec::new();
            Deletion::new(user_app_id.clone(), Arc::clone(&targets), some.clone()).write(&mut wire);

            let read = DeleteAnnotationsRequest::decode(&*wire).unwrap();
            let named: Vec<_> = some.iter().map(|&id| targets.get(id as usize)).collect();
            prop_assert_eq!(read.user_app_id, Some(user_app_id));
            prop_assert_eq!(read.ids, named.iter().filter_map(|it| it.annotation_id).collect::<Vec<_>>());
            prop_assert_eq!(read.input_ids, named.iter().map(|it| it.input_id).collect::<Vec<_>>());
        }
    }
}
