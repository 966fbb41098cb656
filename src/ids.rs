//! ID columns and what they name, validated before anything is sent.
//!
//! This module knows nothing of Python, of the service or of the client. Whoever reads IDs from somewhere
//! hands them over one by one ([`ColumnBuilder`]) or as Arrow arrays ([`Column::from_arrow`], read in place);
//! what comes out holds only IDs that may be sent.

use std::{convert::Infallible, fmt, hash::BuildHasher, sync::Arc};

use arrow_array::{
    Array, ArrayRef, LargeStringArray, StringArray, StringViewArray, cast::AsArray,
    types::ArrowDictionaryKeyType,
};
use arrow_schema::DataType;
use hashbrown::{DefaultHashBuilder, HashTable, hash_table::Entry};

/// Where an ID stands in a call: a parameter and, in a column, the position from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The parameter.
    pub parameter: &'static str,
    /// The position, where the parameter is a column.
    pub index: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}[{index}]", self.parameter),
            None => f.write_str(self.parameter),
        }
    }
}

/// Why a call was refused before anything was sent.
///
/// The text says what is wrong, where, and what to do; [`index`](Self::index) is the position in the column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// An empty string where an ID belongs.
    #[error("{at} is an empty string: every ID must name something. {NOTHING_SENT}")]
    Empty {
        /// Where it stands.
        at: Place,
    },
    /// A string of white space where an ID belongs.
    #[error("{at} is blank (only white space): every ID must name something. {NOTHING_SENT}")]
    Blank {
        /// Where it stands.
        at: Place,
    },
    /// No ID where one belongs: `None`, NaN, an Arrow null.
    #[error("{at} is missing ({what}): drop the row or fill it in. {NOTHING_SENT}")]
    Missing {
        /// Where it stands.
        at: Place,
        /// How it is missing, for example `None`.
        what: String,
    },
    /// Something other than a string where an ID belongs.
    #[error("{at} is of type {what}, not a string: convert IDs to str first. {NOTHING_SENT}")]
    NotAString {
        /// Where it stands.
        at: Place,
        /// Its type, for example `int`.
        what: String,
    },
    /// A string that has no UTF-8 form.
    #[error("{at} is not valid Unicode ({what}): decode it again. {NOTHING_SENT}")]
    NotUnicode {
        /// Where it stands.
        at: Place,
        /// What is wrong with it, for example `it holds a lone surrogate`.
        what: &'static str,
    },
    /// Something that is no column of IDs at all.
    #[error("{parameter} is {what}: {advice}. {NOTHING_SENT}")]
    NotAColumn {
        /// The parameter.
        parameter: &'static str,
        /// What it is, for example `a str`.
        what: String,
        /// What to pass instead.
        advice: &'static str,
    },
    /// Two columns that cannot be paired.
    #[error(
        "{inputs} input_ids but {annotations} annotation_ids: each annotation ID needs the ID of its own input, \
         at the same position. To delete every annotation of some inputs, say so with \
         delete_input_annotations. {NOTHING_SENT}"
    )]
    Counts {
        /// How many input IDs came.
        inputs: usize,
        /// How many annotation IDs came.
        annotations: usize,
    },
    /// More IDs than positions can be counted in 32 bits.
    #[error("{count} IDs in one call are too many: split it, at most {} at a time. {NOTHING_SENT}", u32::MAX)]
    TooMany {
        /// How many IDs came.
        count: usize,
    },
}

const NOTHING_SENT: &str = "Nothing was sent";

impl IdError {
    /// The position of the first ID that is wrong, from 0; for [`IdError::Counts`] the first without a partner.
    /// `None` where the whole column is of the wrong kind.
    pub fn index(&self) -> Option<usize> {
        match *self {
            Self::Empty { at }
            | Self::Blank { at }
            | Self::Missing { at, .. }
            | Self::NotAString { at, .. }
            | Self::NotUnicode { at, .. } => at.index,
            Self::Counts { inputs, annotations } => Some(inputs.min(annotations)),
            Self::NotAColumn { .. } | Self::TooMany { .. } => None,
        }
    }

    /// Whether it is the type that is wrong, rather than the value.
    pub fn is_type_error(&self) -> bool {
        matches!(self, Self::NotAString { .. } | Self::NotAColumn { .. })
    }
}

fn validate(at: Place, id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        Err(IdError::Empty { at })
    } else if id.chars().all(char::is_whitespace) {
        Err(IdError::Blank { at })
    } else {
        Ok(())
    }
}

/// A column of validated IDs.
#[derive(Clone)]
pub struct Column(Storage);

#[derive(Clone)]
enum Storage {
    Text(Text),
    /// Arrow arrays as they came; `starts[i]` is the position of the i-th chunk's first ID.
    Arrow {
        chunks: Vec<Chunk>,
        starts: Vec<usize>,
        len: usize,
    },
}

/// IDs one after the other in one string: there may be millions. `ends[i]` is where the i-th ends.
#[derive(Debug, Clone, Default)]
pub struct Text {
    text: String,
    ends: Vec<usize>,
}

impl Text {
    /// Appends an ID.
    pub fn push(&mut self, id: &str) {
        self.text.push_str(id);
        self.ends.push(self.text.len());
    }

    /// The ID that was appended after so many others.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index))
    }
}

#[derive(Clone)]
enum Chunk {
    Utf8(StringArray),
    LargeUtf8(LargeStringArray),
    Utf8View(StringViewArray),
    Dictionary { keys: Vec<u32>, values: Box<Chunk> },
}

impl Chunk {
    fn value(&self, row: usize) -> &str {
        match self {
            Self::Utf8(array) => array.value(row),
            Self::LargeUtf8(array) => array.value(row),
            Self::Utf8View(array) => array.value(row),
            Self::Dictionary { keys, values } => values.value(keys[row] as usize),
        }
    }

    /// Visits all IDs in their order: much faster than one by one, for the layout is looked at once.
    fn each<E>(&self, mut visit: impl FnMut(usize, &str) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Utf8(array) => (0..array.len()).try_for_each(|row| visit(row, array.value(row))),
            Self::LargeUtf8(array) => (0..array.len()).try_for_each(|row| visit(row, array.value(row))),
            Self::Utf8View(array) => (0..array.len()).try_for_each(|row| visit(row, array.value(row))),
            Self::Dictionary { keys, values } => {
                keys.iter().enumerate().try_for_each(|(row, &key)| visit(row, values.value(key as usize)))
            }
        }
    }
}

impl Column {
    /// Takes over the chunks of an Arrow string column (`utf8`, `large_utf8`, `utf8_view`, or a dictionary
    /// of one) and reads its IDs in place. A column without rows may be of any type.
    ///
    /// # Errors
    /// [`IdError`] when the column is not of strings, or an ID in it is null, empty or blank.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use arrow_array::{ArrayRef, StringArray};
    /// use clarifai_annotations::ids::Column;
    ///
    /// let ids: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    /// assert_eq!(Column::from_arrow("input_ids", &[ids])?.get(1), "b");
    /// # Ok::<(), clarifai_annotations::ids::IdError>(())
    /// ```
    pub fn from_arrow(parameter: &'static str, arrays: &[ArrayRef]) -> Result<Self, IdError> {
        let (mut chunks, mut starts, mut len) = (Vec::new(), Vec::new(), 0);
        for array in arrays.iter().filter(|array| !array.is_empty()) {
            let chunk = chunk_of(parameter, len, array)?;
            chunk.each(|row, id| {
                let at = Place { parameter, index: Some(len + row) };
                // Arrow takes its producers' word that strings are UTF-8, and all that is done with a str relies on it.
                match std::str::from_utf8(id.as_bytes()) {
                    Ok(id) => validate(at, id),
                    Err(_) => Err(IdError::NotUnicode { at, what: "its bytes are not UTF-8" }),
                }
            })?;
            chunks.push(chunk);
            starts.push(len);
            len += array.len();
        }
        Ok(Self(Storage::Arrow { chunks, starts, len }))
    }

    /// How many IDs the column has.
    pub fn len(&self) -> usize {
        match &self.0 {
            Storage::Text(text) => text.len(),
            Storage::Arrow { len, .. } => *len,
        }
    }

    /// Whether the column has no ID.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Visits all IDs in their order.
    fn each(&self, mut visit: impl FnMut(usize, &str)) {
        match &self.0 {
            Storage::Text(text) => text.iter().enumerate().for_each(|(index, id)| visit(index, id)),
            Storage::Arrow { chunks, starts, .. } => {
                for (chunk, start) in chunks.iter().zip(starts) {
                    let Ok(()) = chunk.each(|row, id| {
                        visit(start + row, id);
                        Ok::<_, Infallible>(())
                    });
                }
            }
        }
    }

    /// The ID at a position.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn get(&self, index: usize) -> &str {
        match &self.0 {
            Storage::Text(text) => text.get(index),
            Storage::Arrow { chunks, starts, .. } => {
                let chunk = starts.partition_point(|&start| start <= index) - 1;
                chunks[chunk].value(index - starts[chunk])
            }
        }
    }
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..self.len()).map(|index| self.get(index))).finish()
    }
}

/// What to do with a table where a column belongs.
pub fn column_of_a_table(parameter: &str) -> &'static str {
    match parameter {
        "annotation_ids" => "pass one column of it, for example table[\"annotation_id\"]",
        _ => "pass one column of it, for example table[\"input_id\"]",
    }
}

/// Reads an array without its IDs being looked at yet, save for the nulls.
fn chunk_of(parameter: &'static str, start: usize, array: &ArrayRef) -> Result<Chunk, IdError> {
    // Logical nulls: a dictionary may be null by its key or by the value that the key points at.
    if let Some(row) = array.logical_nulls().and_then(|nulls| nulls.iter().position(|valid| !valid)) {
        return Err(IdError::Missing {
            at: Place { parameter, index: Some(start + row) },
            what: "null".into(),
        });
    }
    match array.data_type() {
        DataType::Utf8 => Ok(Chunk::Utf8(array.as_string::<i32>().clone())),
        DataType::LargeUtf8 => Ok(Chunk::LargeUtf8(array.as_string::<i64>().clone())),
        DataType::Utf8View => Ok(Chunk::Utf8View(array.as_string_view().clone())),
        DataType::Dictionary(_, values) if values.is_string() => {
            let dictionary = array.as_any_dictionary();
            arrow_array::downcast_integer! {
                dictionary.keys().data_type() => (dictionary_chunk, parameter, start, array),
                other => unreachable!("Arrow allows no dictionary keyed by {other}"),
            }
        }
        DataType::Struct(_) => Err(IdError::NotAColumn {
            parameter,
            what: "a table".into(),
            advice: column_of_a_table(parameter),
        }),
        other => Err(IdError::NotAColumn {
            parameter,
            what: format!("an Arrow column of {other}"),
            advice: "IDs are strings: cast the column to a string type first",
        }),
    }
}

macro_rules! dictionary_chunk {
    ($key:ty, $parameter:ident, $start:ident, $array:ident) => {
        dictionary_chunk_of::<$key>($parameter, $start, $array)
    };
}
use dictionary_chunk;

fn dictionary_chunk_of<K: ArrowDictionaryKeyType>(
    parameter: &'static str,
    start: usize,
    array: &ArrayRef,
) -> Result<Chunk, IdError> {
    let dictionary = array.as_dictionary::<K>();
    let keys = dictionary.keys_iter().flatten().map(u32::try_from).collect::<Result<_, _>>();
    let keys = keys.map_err(|_| IdError::TooMany { count: dictionary.values().len() })?;
    // A null that no row points at is no missing ID.
    let values = Arc::clone(dictionary.values());
    let values = match values.data_type() {
        DataType::Utf8 => Chunk::Utf8(values.as_string::<i32>().clone()),
        DataType::LargeUtf8 => Chunk::LargeUtf8(values.as_string::<i64>().clone()),
        DataType::Utf8View => Chunk::Utf8View(values.as_string_view().clone()),
        _ => return chunk_of(parameter, start, &values),
    };
    Ok(Chunk::Dictionary { keys, values: Box::new(values) })
}

/// Collects a column ID by ID.
///
/// ```
/// use clarifai_annotations::ids::{ColumnBuilder, IdError};
///
/// let mut column = ColumnBuilder::new("input_ids");
/// column.push("cat-1")?;
/// assert!(column.push("  ").unwrap_err().to_string().starts_with("input_ids[1] is blank"));
/// # Ok::<(), IdError>(())
/// ```
pub struct ColumnBuilder {
    parameter: &'static str,
    single: bool,
    ids: Text,
}

impl ColumnBuilder {
    /// An empty column; `parameter` is its name, for messages.
    pub fn new(parameter: &'static str) -> Self {
        Self { parameter, single: false, ids: Text::default() }
    }

    /// A parameter that is one ID, not a column.
    pub fn single(parameter: &'static str) -> Self {
        Self { single: true, ..Self::new(parameter) }
    }

    /// Appends an ID.
    ///
    /// # Errors
    /// [`IdError::Empty`] or [`IdError::Blank`].
    pub fn push(&mut self, id: &str) -> Result<(), IdError> {
        validate(self.place(), id)?;
        self.ids.push(id);
        Ok(())
    }

    /// Where the next ID will stand.
    pub fn place(&self) -> Place {
        Place { parameter: self.parameter, index: (!self.single).then_some(self.ids.ends.len()) }
    }

    /// The column.
    pub fn finish(mut self) -> Column {
        self.ids.text.shrink_to_fit();
        self.ids.ends.shrink_to_fit();
        Column(Storage::Text(self.ids))
    }
}

/// A set of hashes that may take one for another.
struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Room for so many bits.
    fn new(bits: usize) -> Self {
        Self { words: vec![0; bits / 64 + 1] }
    }

    fn place(&self, hash: u32) -> (usize, u64) {
        // The upper bits choose the word, evenly among however many there are, and the lower ones the bit.
        let word = (u64::from(hash) * self.words.len() as u64) >> 32;
        (word as usize, 1 << (hash % 64))
    }

    /// Adds a hash; tells whether it may have been there.
    fn insert(&mut self, hash: u32) -> bool {
        let (word, bit) = self.place(hash);
        let was_there = self.words[word] & bit != 0;
        self.words[word] |= bit;
        was_there
    }

    fn contains(&self, hash: u32) -> bool {
        let (word, bit) = self.place(hash);
        self.words[word] & bit != 0
    }
}

/// What one call names: pairs, or whole inputs. Each is there once, in the order of its first mention.
#[derive(Debug)]
pub struct Targets {
    input_ids: Column,
    /// `None`: whole inputs.
    annotation_ids: Option<Column>,
    /// Positions of the first mentions; `None` when nothing is repeated.
    distinct: Option<Vec<u32>>,
}

/// One thing that a call names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    /// Its position in the caller's columns, from 0.
    pub position: usize,
    /// The input.
    pub input_id: &'a str,
    /// The annotation on it; `None` for a whole input.
    pub annotation_id: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// The IDs of its input and its own, which is empty for a whole input.
    pub fn pair(&self) -> (&'a str, &'a str) {
        (self.input_id, self.annotation_id.unwrap_or_default())
    }
}

impl Targets {
    /// Annotations, each by its input's ID and its own at the same position.
    ///
    /// # Errors
    /// [`IdError::Counts`] when the columns differ in length, [`IdError::TooMany`] from 2³² on.
    pub fn pairs(input_ids: Column, annotation_ids: Column) -> Result<Self, IdError> {
        if input_ids.len() != annotation_ids.len() {
            let (inputs, annotations) = (input_ids.len(), annotation_ids.len());
            return Err(IdError::Counts { inputs, annotations });
        }
        Self::new(input_ids, Some(annotation_ids))
    }

    /// All annotations of some inputs, save their input-level ones.
    ///
    /// # Errors
    /// [`IdError::TooMany`] from 2³² on.
    pub fn inputs(input_ids: Column) -> Result<Self, IdError> {
        Self::new(input_ids, None)
    }

    /// The pairs of several calls as those of one, in their order.
    pub fn joined<'a>(calls: impl IntoIterator<Item = &'a Self>) -> Self {
        let (mut input_ids, mut annotation_ids) = (Text::default(), Text::default());
        for call in calls {
            for target in (0..call.len()).map(|index| call.get(index)) {
                input_ids.push(target.input_id);
                annotation_ids.push(target.annotation_id.unwrap_or_default());
            }
        }
        let (input_ids, annotation_ids) =
            (Column(Storage::Text(input_ids)), Column(Storage::Text(annotation_ids)));
        Self { input_ids, annotation_ids: Some(annotation_ids), distinct: None }.without_repeats()
    }

    /// What stands at some positions of the caller's columns, in the order of these.
    ///
    /// # Errors
    /// [`IdError::TooMany`] from 2³² on.
    pub fn picked(&self, positions: impl IntoIterator<Item = usize>) -> Result<Self, IdError> {
        let (mut input_ids, mut annotation_ids) = (Text::default(), Text::default());
        for target in positions.into_iter().map(|position| self.at(position)) {
            input_ids.push(target.input_id);
            annotation_ids.push(target.annotation_id.unwrap_or_default());
        }
        let annotation_ids = self.are_pairs().then_some(Column(Storage::Text(annotation_ids)));
        Self::new(Column(Storage::Text(input_ids)), annotation_ids)
    }

    fn new(input_ids: Column, annotation_ids: Option<Column>) -> Result<Self, IdError> {
        let count = input_ids.len();
        u32::try_from(count).map_err(|_| IdError::TooMany { count })?;
        Ok(Self { input_ids, annotation_ids, distinct: None }.without_repeats())
    }

    fn without_repeats(mut self) -> Self {
        if self.input_ids.len() > 1 {
            self.distinct = self.first_mentions();
        }
        self
    }

    /// Positions without those that repeat an earlier one; `None` when none does.
    ///
    /// Most columns repeat nothing, and to see that must cost little: a bit for each hash tells which positions
    /// may repeat another, and only these are compared, in a table.
    fn first_mentions(&self) -> Option<Vec<u32>> {
        let hashes = self.hashes();
        let (mut seen, mut twice) = (Bits::new(8 * hashes.len()), Bits::new(2 * hashes.len()));
        for &hash in &hashes {
            if seen.insert(hash) {
                twice.insert(hash);
            }
        }
        let key = |position: u32| {
            let target = self.at(position as usize);
            (target.input_id, target.annotation_id)
        };
        let hash = |position: &u32| u64::from(hashes[*position as usize]).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut firsts = HashTable::<u32>::new();
        let mut repeated = Vec::new();
        let candidates = (0..).zip(&hashes).filter(|(_, hash)| twice.contains(**hash));
        for (position, _) in candidates {
            match firsts.entry(hash(&position), |&other| key(other) == key(position), hash) {
                Entry::Occupied(_) => repeated.push(position),
                Entry::Vacant(entry) => drop(entry.insert(position)),
            }
        }
        if repeated.is_empty() {
            return None;
        }
        let mut repeated = repeated.into_iter().peekable();
        let positions = 0..hashes.len() as u32;
        Some(positions.filter(|position| repeated.next_if_eq(position).is_none()).collect())
    }

    /// A hash of what each position names.
    fn hashes(&self) -> Vec<u32> {
        let hasher = DefaultHashBuilder::default();
        let mut hashes = vec![0; self.input_ids.len()];
        for column in [Some(&self.input_ids), self.annotation_ids.as_ref()].into_iter().flatten() {
            column.each(|position, id| {
                let hash = &mut hashes[position];
                *hash = hasher.hash_one((*hash, id)) as u32;
            });
        }
        hashes
    }

    fn at(&self, position: usize) -> Target<'_> {
        Target {
            position,
            input_id: self.input_ids.get(position),
            annotation_id: self.annotation_ids.as_ref().map(|ids| ids.get(position)),
        }
    }

    /// How many different things are named.
    pub fn len(&self) -> usize {
        self.distinct.as_ref().map_or(self.input_ids.len(), Vec::len)
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many mentions repeat an earlier one.
    pub fn duplicates(&self) -> usize {
        self.input_ids.len() - self.len()
    }

    /// Whether these are pairs rather than whole inputs.
    pub fn are_pairs(&self) -> bool {
        self.annotation_ids.is_some()
    }

    /// The `index`-th different thing that is named.
    ///
    /// # Panics
    /// When `index` is not below [`len`](Self::len).
    pub fn get(&self, index: usize) -> Target<'_> {
        self.at(self.distinct.as_ref().map_or(index, |distinct| distinct[index] as usize))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use arrow_array::{DictionaryArray, Int64Array, NullArray, StructArray, types::Int8Type};
    use proptest::prelude::*;

    use super::*;

    fn column(ids: &[&str]) -> Column {
        let mut column = ColumnBuilder::new("ids");
        for id in ids {
            column.push(id).unwrap();
        }
        column.finish()
    }

    fn arrow(arrays: Vec<ArrayRef>) -> Result<Vec<String>, IdError> {
        let column = Column::from_arrow("ids", &arrays)?;
        Ok((0..column.len()).map(|index| column.get(index).to_owned()).collect())
    }

    #[test]
    fn a_repeated_pair_is_named_once_and_counted() {
        let targets = Targets::pairs(column(&["i", "i", "j", "i"]), column(&["a", "b", "a", "a"])).unwrap();
        let named: Vec<_> = (0..targets.len()).map(|index| targets.get(index).position).collect();
        assert_eq!((named, targets.duplicates()), (vec![0, 1, 2], 1));
    }

    proptest! {
        #[test]
        fn among_many_pairs_those_that_repeat_an_earlier_one_are_found(
            named in prop::collection::vec((0..40u16, 0..40u16), 0..3000),
        ) {
            let text = |part: fn(&(u16, u16)) -> u16| -> Vec<String> {
                named.iter().map(|pair| part(pair).to_string()).collect()
            };
            let (input_ids, annotation_ids) = (text(|pair| pair.0), text(|pair| pair.1));
            // One column of each storage, the second in chunks.
            let chunks: Vec<ArrayRef> =
                annotation_ids.chunks(1000).map(|ids| Arc::new(StringArray::from(ids.to_vec())) as _).collect();
            let mut builder = ColumnBuilder::new("ids");
            input_ids.iter().for_each(|id| builder.push(id).unwrap());
            let targets = Targets::pairs(builder.finish(), Column::from_arrow("ids", &chunks).unwrap()).unwrap();

            let mut seen = HashSet::new();
            let firsts: Vec<_> = (0..named.len()).filter(|&position| seen.insert(named[position])).collect();
            let found: Vec<_> = (0..targets.len()).map(|index| targets.get(index).position).collect();
            prop_assert_eq!(found, firsts);
        }
    }

    #[test]
    fn ids_that_join_to_the_same_text_are_different_pairs() {
        let targets = Targets::pairs(column(&["ab", "a"]), column(&["c", "bc"])).unwrap();
        assert_eq!(targets.duplicates(), 0);
    }

    #[test]
    fn columns_of_different_lengths_are_refused_at_the_first_id_without_a_partner() {
        let error = Targets::pairs(column(&["i", "j"]), column(&[])).unwrap_err();
        assert_eq!((&error, error.index()), (&IdError::Counts { inputs: 2, annotations: 0 }, Some(0)));
    }

    #[test]
    fn every_arrow_string_layout_is_read() {
        let dictionary: DictionaryArray<Int8Type> = vec!["d", "e", "d"].into_iter().collect();
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["a"])),
            Arc::new(StringArray::from(Vec::<&str>::new())),
            Arc::new(LargeStringArray::from(vec!["b"])),
            Arc::new(StringViewArray::from(vec!["c, and longer than twelve bytes"])),
            Arc::new(dictionary),
        ];
        assert_eq!(arrow(arrays).unwrap(), ["a", "b", "c, and longer than twelve bytes", "d", "e", "d"]);
    }

    #[test]
    fn a_sliced_array_is_read_from_its_own_first_row() {
        let array: ArrayRef = Arc::new(StringArray::from(vec!["a", "b", "c"]));
        assert_eq!(arrow(vec![array.slice(1, 2)]).unwrap(), ["b", "c"]);
    }

    #[test]
    fn an_arrow_null_is_missing_at_its_position_across_chunks() {
        let arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["a", "b"])),
            Arc::new(StringArray::from(vec![Some("c"), None])),
        ];
        let error = arrow(arrays).unwrap_err();
        assert_eq!(
            error.to_string(),
            "ids[3] is missing (null): drop the row or fill it in. Nothing was sent"
        );
    }

    #[test]
    fn a_dictionary_entry_that_is_null_is_missing_where_a_row_points_at_it() {
        let values: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
        let keys = arrow_array::Int8Array::from(vec![0, 1]);
        let array: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::new(keys, values));
        assert_eq!(arrow(vec![array]).unwrap_err().index(), Some(1));
    }

    #[test]
    fn an_arrow_column_of_numbers_is_refused_and_an_empty_one_is_not() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(arrow(vec![Arc::clone(&numbers)]).unwrap_err().is_type_error());
        assert_eq!(arrow(vec![numbers.slice(0, 0)]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_column_of_nothing_but_nulls_is_missing_its_first_id() {
        assert_eq!(arrow(vec![Arc::new(NullArray::new(2))]).unwrap_err().index(), Some(0));
    }

    #[test]
    fn a_table_is_refused() {
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let field = arrow_schema::Field::new("input_id", DataType::Utf8, true);
        let table: ArrayRef = Arc::new(StructArray::from(vec![(Arc::new(field), ids)]));
        assert!(arrow(vec![table]).unwrap_err().to_string().starts_with("ids is a table: pass one column"));
    }
}
