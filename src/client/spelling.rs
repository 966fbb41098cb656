//! Whether two IDs are one name in two spellings: other letters' case, another Unicode normal form, blanks around it.
//! A name that is told apart here is never guessed to be another: it is only kept from being called absent.

use std::sync::Arc;

use unicode_normalization::UnicodeNormalization as _;

use crate::{error::Error, wire::Listed};

/// What all spellings of an ID have in common.
pub fn folded(id: &str) -> String {
    // Upper case first: "ß" is "SS" there, and "ss" in lower case.
    let letters = id.trim().nfkd().flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    letters.nfkd().collect()
}

/// Why nothing is done with an annotation that the service lists in this spelling.
pub fn respelled(listed: &Listed) -> Arc<Error> {
    let message = format!(
        "the service lists annotation {} of input {} instead, which is another spelling: give each ID as the service \
         spells it",
        shown(&listed.annotation.id),
        shown(&listed.annotation.input_id)
    );
    Arc::new(Error::Listing { message })
}

/// Why nothing is done with an input that the service lists in this spelling.
pub fn respelled_input(input_id: &str) -> Arc<Error> {
    let message = format!(
        "the service lists input {} instead, which is another spelling: give each ID as the service spells it",
        shown(input_id)
    );
    Arc::new(Error::Listing { message })
}

/// An ID of the service's, fit for a message: what the eye cannot tell apart is escaped.
fn shown(id: &str) -> String {
    const LONGEST: usize = 200;
    match id.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &id[..end]),
        None => format!("{id:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_name_are_folded_to_one_text() {
        for (one, other) in [
            ("Box", "bOX"),
            ("caf\u{e9}", "cafe\u{301}"),
            (" box\t", "box"),
            ("Straße", "STRASSE"),
            ("ﬁg", "FIG"),
        ] {
            assert_eq!(folded(one), folded(other));
        }
    }

    #[test]
    fn different_names_stay_different() {
        for (one, other) in [("box-1", "box-2"), ("a b", "ab"), ("é", "e"), ("box_1", "box-1")] {
            assert_ne!(folded(one), folded(other));
        }
    }
}
