//! One element of a named list: a Go regular expression over the name of a source.
//!
//! Reloader matches `^` + element + `$` without grouping, so `a|b` is `^a` or `b$`, `.` is a wildcard
//! even in `app.config`, and a lone `*` is `^*$` and matches everything. Existing annotations rely on
//! it, so all of that holds here.

mod class;
mod cursor;
mod go;
#[cfg(test)]
mod tests;

use regex::bytes::{Regex, RegexBuilder};

use super::source::is_source_name;

/// Memory of one compiled expression. Go's `.{1,253}` fits, and no name is longer.
const SIZE_LIMIT: usize = 128 << 10;
/// Memory that one compiled expression may take up while it matches.
const CACHE_LIMIT: usize = 32 << 10;

/// Why an element is not a Go regular expression.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq, PartialOrd, Ord)]
pub enum PatternError {
    /// `|*`, `(+`.
    #[error("there is nothing to repeat before a *, +, ? or {{}}")]
    NothingToRepeat,
    /// `a**`.
    #[error("a repetition is repeated")]
    NestedRepeat,
    /// `a{2,1}`, `a{1001}`, `(a{100}){100}`.
    #[error("a repeat count is out of order or above 1000")]
    RepeatCount,
    /// `(a`.
    #[error("a ) is missing")]
    OpenGroup,
    /// `a)`.
    #[error("there is a ) without (")]
    StrayParenthesis,
    /// `(?=a)`.
    #[error("a group begins with (? and something other than flags or <name>")]
    Group,
    /// `[a`.
    #[error("a ] is missing")]
    Bracket,
    /// `[z-a]`, `[[:letters:]]`, `\pX`; also Go's classes for scripts that no name is written in.
    #[error("a character class is unknown, unfinished or out of order")]
    Class,
    /// `\1`, `\y`.
    #[error("there is an unknown escape, or a back-reference")]
    Escape,
    /// Valid, but it would take too much memory.
    #[error("it is too complex, split it")]
    TooComplex,
}

/// An element of a named list. Two are equal if their text is.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// No metacharacter: the text itself.
    Exact,
    /// None but `.` and `.*`: matched on the text, since compiled expressions take kilobytes each.
    Wildcard,
    Compiled(Regex),
}

impl Pattern {
    /// Parses an element of a list, white space around it already removed.
    pub fn parse(piece: &str) -> Result<Self, PatternError> {
        let matcher = if !piece.contains(is_meta) {
            Matcher::Exact
        } else if is_wildcard(piece) {
            Matcher::Wildcard
        } else {
            Matcher::Compiled(compile(piece)?)
        };
        Ok(Self {
            text: piece.into(),
            matcher,
        })
    }

    /// Whether [`Pattern::parse`] would have to compile an expression, which takes time and memory.
    pub fn needs_compiling(piece: &str) -> bool {
        piece.contains(is_meta) && !is_wildcard(piece)
    }

    /// Whether a source of this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Exact => *self.text == *name,
            Matcher::Wildcard => wildcard_matches(self.text.as_bytes(), name.as_bytes()),
            Matcher::Compiled(regex) => regex.is_match(name.as_bytes()),
        }
    }

    /// The text, if it is a name that a source can have; that source can be looked up without a list.
    /// Others can match too if there is a `.` in it.
    pub fn literal(&self) -> Option<&str> {
        is_source_name(&self.text).then_some(&*self.text)
    }

    /// Whether nothing but the text itself matches.
    pub fn is_literal_only(&self) -> bool {
        matches!(self.matcher, Matcher::Exact)
    }

    /// The element as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

fn compile(piece: &str) -> Result<Regex, PatternError> {
    let translated = go::translate(&format!("^{piece}$"))?;
    RegexBuilder::new(&translated)
        .unicode(false)
        .size_limit(SIZE_LIMIT)
        .dfa_size_limit(CACHE_LIMIT)
        .build()
        .map_err(|_| PatternError::TooComplex)
}

fn is_meta(c: char) -> bool {
    r"\.+*?()|[]{}^$".contains(c)
}

fn is_wildcard(piece: &str) -> bool {
    !piece.replace(".*", "").contains(|c| c != '.' && is_meta(c))
}

/// Matches text in which `.*` and `.` are the only operators.
fn wildcard_matches(mut text: &[u8], mut name: &[u8]) -> bool {
    // Where to go on if what follows the last `.*` does not match: let it take one more character.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'.', b'*', rest @ ..] = text {
            text = rest;
            retry = Some((rest, name));
            continue;
        }
        match (text, name) {
            ([], []) => return true,
            ([wanted, text_rest @ ..], [found, name_rest @ ..])
                if wanted == found || (*wanted == b'.' && is_any(*found)) =>
            {
                (text, name) = (text_rest, name_rest);
            }
            _ => match retry {
                Some((after, [skipped, rest @ ..])) if is_any(*skipped) => {
                    (text, name) = (after, rest);
                    retry = Some((after, rest));
                }
                _ => return false,
            },
        }
    }
}

/// What `.` stands for; as in compiled expressions, only ASCII.
fn is_any(byte: u8) -> bool {
    byte.is_ascii() && byte != b'\n'
}
