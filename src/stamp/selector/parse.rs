//! Reads a label selector, by the grammar of Kubernetes.

use std::{collections::BTreeSet, str::FromStr};

use super::{LabelSelector, Requirement, Test};
use crate::stamp::source::is_source_name;

/// The longest name part of a key, and the longest value (Kubernetes, `IsQualifiedName`, `IsValidLabelValue`).
const MAX_NAME: usize = 63;
/// Of the special symbols, those that mean something together come first.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];
const SPECIAL: &str = "=!(),<>";

/// Why a text is no label selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// Something else belongs there.
    #[error("{found} where {expected} belongs")]
    Unexpected {
        /// What is there.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// No label can be called that.
    #[error("{0:?} cannot be the key of a label")]
    Key(String),
    /// No label can have that value.
    #[error("{0:?} cannot be the value of a label")]
    Value(String),
    /// Only numbers can be larger or smaller.
    #[error("{0:?} is no whole number")]
    Number(String),
}

impl FromStr for LabelSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Ok(Self {
            text: text.to_owned(),
            requirements: Parser(text).requirements()?,
        })
    }
}

/// What is left to read.
struct Parser<'a>(&'a str);

impl<'a> Parser<'a> {
    fn requirements(&mut self) -> Result<Vec<Requirement>, SelectorError> {
        let mut requirements = Vec::new();
        if self.peek().is_none() {
            return Ok(requirements);
        }
        loop {
            requirements.push(self.requirement()?);
            match self.next() {
                None => return Ok(requirements),
                Some(",") => {}
                other => return Err(unexpected(other, "a comma or the end")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.takes("!") {
            let (key, test) = (self.key()?, Test::DoesNotExist);
            return Ok(Requirement { key, test });
        }
        let key = self.key()?;
        let test = match self.peek() {
            None | Some(",") => Test::Exists,
            _ => self.test()?,
        };
        Ok(Requirement { key, test })
    }

    fn test(&mut self) -> Result<Test, SelectorError> {
        Ok(match self.next() {
            Some("=" | "==") => Test::In(BTreeSet::from([self.value()?])),
            Some("!=") => Test::NotIn(BTreeSet::from([self.value()?])),
            Some("in") => Test::In(self.values()?),
            Some("notin") => Test::NotIn(self.values()?),
            Some(">") => Test::GreaterThan(self.number()?),
            Some("<") => Test::LessThan(self.number()?),
            other => return Err(unexpected(other, "an operator")),
        })
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let key = self.word()?;
        if is_qualified_name(key) {
            Ok(key.to_owned())
        } else {
            Err(SelectorError::Key(key.to_owned()))
        }
    }

    /// A value, or nothing, which is the empty one.
    fn value(&mut self) -> Result<String, SelectorError> {
        let value = match self.peek() {
            None | Some("," | ")") => "",
            _ => self.word()?,
        };
        if value.is_empty() || is_name(value) {
            Ok(value.to_owned())
        } else {
            Err(SelectorError::Value(value.to_owned()))
        }
    }

    fn number(&mut self) -> Result<i64, SelectorError> {
        let value = self.value()?;
        value.parse().map_err(|_| SelectorError::Number(value))
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        if !self.takes("(") {
            return Err(unexpected(self.peek(), "\"(\""));
        }
        let mut values = BTreeSet::new();
        if self.peek() == Some(")") {
            return Err(unexpected(Some(")"), "a value"));
        }
        loop {
            values.insert(self.value()?);
            match self.next() {
                Some(")") => return Ok(values),
                Some(",") => {}
                other => return Err(unexpected(other, "a comma or \")\"")),
            }
        }
    }

    fn word(&mut self) -> Result<&'a str, SelectorError> {
        match self.next() {
            Some(word) if !SYMBOLS.contains(&word) => Ok(word),
            other => Err(unexpected(other, "a key or a value")),
        }
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let is_next = self.peek() == Some(symbol);
        if is_next {
            self.next();
        }
        is_next
    }

    fn peek(&self) -> Option<&'a str> {
        Parser(self.0).next()
    }

    /// The next symbol or word.
    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start_matches(is_space);
        let symbol = SYMBOLS
            .iter()
            .find_map(|symbol| text.get(..symbol.len()).filter(|start| start == symbol));
        let is_over = |c: char| is_space(c) || SPECIAL.contains(c);
        let token = symbol.unwrap_or_else(|| text.split(is_over).next().unwrap_or_default());
        self.0 = text.strip_prefix(token).unwrap_or_default();
        Some(token).filter(|token| !token.is_empty())
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn unexpected(found: Option<&str>, expected: &'static str) -> SelectorError {
    let found = found.map_or_else(
        || "there is the end".to_owned(),
        |found| format!("there is {found:?}"),
    );
    SelectorError::Unexpected { found, expected }
}

/// Whether a label or an annotation can have the key.
pub fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_source_name(prefix) && is_name(name),
        None => is_name(text),
    }
}

fn is_name(name: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= MAX_NAME
        && name.chars().all(is_inner)
        && is_end(name.chars().next())
        && is_end(name.chars().next_back())
}
