//! ID columns of every layout, held against plain vectors: what is refused, what is kept, in which order.
#![no_main]

use std::{collections::HashSet, sync::Arc};

use arbitrary::Arbitrary;
use arrow_array::{
    Array as _, ArrayRef, BinaryArray, DictionaryArray, LargeStringArray, PrimitiveArray, StringArray,
    StringViewArray,
    types::{Int8Type, UInt64Type},
};
use clarifai_annotations::ids::{Column, ColumnBuilder, IdError, Targets};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Columns {
    inputs: Layout,
    annotations: Option<Layout>,
}

#[derive(Arbitrary, Debug)]
enum Layout {
    Pushed(Vec<String>),
    Chunks(Vec<Chunk>),
}

#[derive(Arbitrary, Debug)]
struct Chunk {
    array: Array,
    /// Rows cut off at the beginning and at the end.
    cut: (u8, u8),
}

#[derive(Arbitrary, Debug)]
enum Array {
    Utf8(Vec<Option<String>>),
    LargeUtf8(Vec<Option<String>>),
    Utf8View(Vec<Option<String>>),
    Dictionary { keys: Vec<Option<u8>>, values: Vec<Option<String>>, wide: bool, view: bool },
    Binary(Vec<Option<Vec<u8>>>),
    Numbers(Vec<Option<u64>>),
}

type Rows = Option<Vec<Option<String>>>;

impl Array {
    /// The array, and its rows where it is one of strings.
    fn build(&self) -> (ArrayRef, Rows) {
        match self {
            Self::Utf8(rows) => (Arc::new(StringArray::from(rows.clone())), Some(rows.clone())),
            Self::LargeUtf8(rows) => (Arc::new(LargeStringArray::from(rows.clone())), Some(rows.clone())),
            Self::Utf8View(rows) => (Arc::new(StringViewArray::from(rows.clone())), Some(rows.clone())),
            Self::Binary(rows) => {
                (Arc::new(rows.iter().map(Option::as_deref).collect::<BinaryArray>()), None)
            }
            Self::Numbers(rows) => (Arc::new(PrimitiveArray::<UInt64Type>::from(rows.clone())), None),
            Self::Dictionary { keys, values, wide, view } => {
                let values = &values[..values.len().min(100)];
                let key = |key: &Option<u8>| {
                    let key = usize::from((*key)?);
                    (!values.is_empty()).then(|| key % values.len().max(1))
                };
                let keys: Vec<_> = keys.iter().map(key).collect();
                let rows = keys.iter().map(|key| key.and_then(|key| values[key].clone())).collect();
                let values: ArrayRef = match view {
                    true => Arc::new(StringViewArray::from(values.to_vec())),
                    false => Arc::new(StringArray::from(values.to_vec())),
                };
                let array: ArrayRef = if *wide {
                    let keys = keys.iter().map(|key| key.map(|key| key as u64)).collect();
                    Arc::new(DictionaryArray::<UInt64Type>::new(keys, values))
                } else {
                    let keys = keys.iter().map(|key| key.map(|key| key as i8)).collect();
                    Arc::new(DictionaryArray::<Int8Type>::new(keys, values))
                };
                (array, Some(rows))
            }
        }
    }
}

impl Layout {
    /// What the library makes of it, and what it holds: `None` where that is not of strings.
    fn build(&self, name: &'static str) -> (Result<Column, IdError>, Rows) {
        match self {
            Self::Pushed(ids) => {
                let mut column = ColumnBuilder::new(name);
                let pushed = ids.iter().try_for_each(|id| column.push(id));
                (pushed.map(|()| column.finish()), Some(ids.iter().cloned().map(Some).collect()))
            }
            Self::Chunks(chunks) => {
                let (mut arrays, mut all, mut strings) = (Vec::new(), Vec::new(), true);
                for chunk in chunks {
                    let (array, rows) = chunk.array.build();
                    let start = usize::from(chunk.cut.0).min(array.len());
                    let len = (array.len() - start).saturating_sub(usize::from(chunk.cut.1));
                    arrays.push(array.slice(start, len));
                    match rows {
                        Some(rows) => all.extend_from_slice(&rows[start..start + len]),
                        None => strings &= len == 0,
                    }
                }
                (Column::from_arrow(name, &arrays), strings.then_some(all))
            }
        }
    }
}

/// Checks a column against what it was made of; gives its IDs where it was taken.
fn check(layout: &Layout, name: &'static str) -> Option<(Column, Vec<String>)> {
    let (column, rows) = layout.build(name);
    let names_something = |row: &Option<String>| row.as_ref().is_some_and(|id| !id.trim().is_empty());
    match (column, rows) {
        (Ok(column), Some(rows)) => {
            let ids: Vec<_> = (0..column.len()).map(|index| column.get(index).to_owned()).collect();
            assert!(rows.iter().all(names_something));
            assert!(rows.iter().flatten().eq(&ids));
            Some((column, ids))
        }
        (Ok(_), None) => panic!("a column that is not of strings was taken"),
        (Err(error), rows) => {
            assert!(error.to_string().contains(name));
            if let (Some(index), Some(rows)) = (error.index(), rows) {
                assert!(!names_something(&rows[index]), "{error}");
            }
            None
        }
    }
}

fuzz_target!(|columns: Columns| {
    let inputs = check(&columns.inputs, "input_ids");
    let annotations = columns.annotations.as_ref().map(|layout| check(layout, "annotation_ids"));
    let (targets, named): (_, Vec<_>) = match (inputs, annotations) {
        (Some((column, ids)), None) => {
            (Targets::inputs(column), ids.into_iter().map(|id| (id, None)).collect())
        }
        (Some((inputs, input_ids)), Some(Some((annotations, ids)))) => {
            let targets = Targets::pairs(inputs, annotations);
            if input_ids.len() != ids.len() {
                assert!(matches!(targets, Err(IdError::Counts { .. })));
                return;
            }
            (targets, input_ids.into_iter().zip(ids.into_iter().map(Some)).collect())
        }
        _ => return,
    };
    let targets = targets.unwrap();
    assert_eq!(targets.are_pairs(), columns.annotations.is_some());
    let mut seen = HashSet::new();
    let firsts: Vec<_> = named.iter().enumerate().filter(|(_, named)| seen.insert(*named)).collect();
    assert_eq!((targets.len(), targets.duplicates()), (firsts.len(), named.len() - firsts.len()));
    for (index, (position, (input_id, annotation_id))) in firsts.into_iter().enumerate() {
        let target = targets.get(index);
        assert_eq!((target.input_id, target.annotation_id), (input_id.as_str(), annotation_id.as_deref()));
        assert_eq!(target.position, position);
    }
});
