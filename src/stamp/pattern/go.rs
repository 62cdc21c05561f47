//! Go's regular expression syntax in terms of the `regex` crate.
//!
//! Follows `parse` of Go's `regexp/syntax` with the flags of `regexp.Compile`. The result asks only
//! whether an ASCII text matches, so captures and greediness are dropped, flags are resolved here, and
//! every character becomes a class of ASCII characters: nothing is left for the two dialects to disagree on.

use std::mem;

use super::{PatternError, class::AsciiSet, cursor::Cursor};

/// Go's limit on a repeat count, and on the product of nested ones.
const MAX_REPEAT: u32 = 1000;
/// How many repetitions of a repetition are written out before the expression is called too complex.
const MAX_WRAPS: usize = 100;

/// Translates a Go expression.
pub(super) fn translate(expression: &str) -> Result<String, PatternError> {
    let mut translation = Translation {
        input: Cursor(expression),
        output: String::with_capacity(expression.len() * 8),
        flags: Flags::default(),
        group: Group::default(),
        outer: Vec::new(),
        after_repeat: false,
        wraps: 0,
    };
    while let Some(c) = translation.input.next() {
        let repeated = translation.token(c)?;
        translation.after_repeat = repeated;
    }
    if translation.outer.is_empty() {
        Ok(translation.output)
    } else {
        Err(PatternError::OpenGroup)
    }
}

#[derive(Clone, Copy, Default)]
struct Flags {
    fold: bool,
    multi_line: bool,
    dot_newline: bool,
}

/// A group that is being read, or the whole expression.
#[derive(Default)]
struct Group {
    start: usize,
    /// The flags to return to.
    flags: Flags,
    /// The largest product of nested repeat counts so far.
    weight: u32,
    /// What a repetition operator would repeat.
    last: Option<Atom>,
}

struct Atom {
    start: usize,
    weight: u32,
    repeated: bool,
}

struct Translation<'a> {
    input: Cursor<'a>,
    output: String,
    flags: Flags,
    group: Group,
    outer: Vec<Group>,
    after_repeat: bool,
    wraps: usize,
}

impl Translation<'_> {
    /// Translates what begins with `c`; says whether it was a repetition operator.
    fn token(&mut self, c: char) -> Result<bool, PatternError> {
        match c {
            '*' => return self.repeat("*", 0, None),
            '+' => return self.repeat("+", 1, None),
            '?' => return self.repeat("?", 0, Some(1)),
            '{' => return self.counted(),
            '(' => self.open()?,
            ')' => self.close()?,
            '|' => {
                self.group.settle(None);
                self.output.push('|');
            }
            '^' if self.flags.multi_line => self.atom("(?m:^)"),
            '^' => self.atom(r"\A"),
            '$' if self.flags.multi_line => self.atom("(?m:$)"),
            '$' => self.atom(r"\z"),
            '.' => self.set(AsciiSet::dot(self.flags.dot_newline)),
            '[' => {
                let set = self.input.bracket_class(self.flags.fold)?;
                self.set(set);
            }
            '\\' => self.escape()?,
            _ => self.character(c.into()),
        }
        Ok(false)
    }

    fn atom(&mut self, text: &str) {
        let start = self.output.len();
        self.output.push_str(text);
        self.group.settle(Some(Atom {
            start,
            weight: 1,
            repeated: false,
        }));
    }

    fn set(&mut self, set: AsciiSet) {
        self.atom(&set.to_string());
    }

    fn character(&mut self, code: u32) {
        self.set(AsciiSet::range(code, code, self.flags.fold));
    }

    fn escape(&mut self) -> Result<(), PatternError> {
        if let Some(letter) = self.input.next_if(|c| matches!(c, 'A' | 'z' | 'b' | 'B')) {
            self.atom(&format!(r"\{letter}"));
        } else if self.input.eat("Q") {
            self.quoted();
        } else if let Some(set) = self.input.class_escape(self.flags.fold)? {
            self.set(set);
        } else {
            let code = self.input.escape()?;
            self.character(code);
        }
        Ok(())
    }

    /// `\Q...\E`; the end may be missing.
    fn quoted(&mut self) {
        let rest = self.input.0;
        let text = self.input.until(r"\E").unwrap_or_else(|| {
            self.input = Cursor("");
            rest
        });
        for c in text.chars() {
            self.character(c.into());
        }
    }

    fn open(&mut self) -> Result<(), PatternError> {
        let mut flags = self.flags;
        if self.input.eat("?P<") || self.input.eat("?<") {
            let name = self.input.until(">").ok_or(PatternError::Group)?;
            if name.is_empty() || !name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) {
                return Err(PatternError::Group);
            }
        } else if self.input.eat("?") && self.flags(&mut flags)? == ')' {
            self.flags = flags;
            return Ok(());
        }
        let group = Group {
            start: self.output.len(),
            flags: self.flags,
            ..Group::default()
        };
        self.outer.push(mem::replace(&mut self.group, group));
        self.flags = flags;
        self.output.push_str("(?:");
        Ok(())
    }

    /// Reads `i-s:` or `i-s)` and returns the last character.
    fn flags(&mut self, flags: &mut Flags) -> Result<char, PatternError> {
        let mut negative = false;
        let mut dangling = false;
        loop {
            match self.input.next() {
                Some('i') => flags.fold = !negative,
                Some('m') => flags.multi_line = !negative,
                Some('s') => flags.dot_newline = !negative,
                // Greediness does not decide whether there is a match.
                Some('U') => {}
                Some('-') if !negative => {
                    negative = true;
                    dangling = true;
                    continue;
                }
                Some(end @ (':' | ')')) if !dangling => return Ok(end),
                _ => return Err(PatternError::Group),
            }
            dangling = false;
        }
    }

    fn close(&mut self) -> Result<(), PatternError> {
        let outer = self.outer.pop().ok_or(PatternError::StrayParenthesis)?;
        let mut group = mem::replace(&mut self.group, outer);
        group.settle(None);
        self.flags = group.flags;
        self.output.push(')');
        let atom = Atom {
            start: group.start,
            weight: group.weight.max(1),
            repeated: false,
        };
        self.group.settle(Some(atom));
        Ok(())
    }

    /// `{2}`, `{2,}` or `{2,3}`; anything else in braces is ordinary characters.
    fn counted(&mut self) -> Result<bool, PatternError> {
        let mut ahead = self.input.clone();
        let Some((min, max)) = counts(&mut ahead) else {
            self.character('{'.into());
            return Ok(false);
        };
        self.input = ahead;
        let largest = max.unwrap_or(min);
        if min > largest || largest > MAX_REPEAT {
            return Err(PatternError::RepeatCount);
        }
        match max {
            Some(max) => self.repeat(&format!("{{{min},{max}}}"), min, Some(max)),
            None => self.repeat(&format!("{{{min},}}"), min, None),
        }
    }

    fn repeat(&mut self, text: &str, min: u32, max: Option<u32>) -> Result<bool, PatternError> {
        self.input.eat("?");
        if self.after_repeat {
            return Err(PatternError::NestedRepeat);
        }
        let atom = self
            .group
            .last
            .as_mut()
            .ok_or(PatternError::NothingToRepeat)?;
        // `a*(?i)*` is a repetition of a repetition; written `a**` here, and `a*?` would be another thing.
        if atom.repeated {
            self.wraps += 1;
            if self.wraps > MAX_WRAPS {
                return Err(PatternError::TooComplex);
            }
            self.output.insert_str(atom.start, "(?:");
            self.output.push(')');
        }
        self.output.push_str(text);
        atom.repeated = true;
        atom.weight = match max {
            Some(0) => 1,
            Some(max) => atom.weight.saturating_mul(max),
            None => atom.weight.saturating_mul(min.max(1)),
        };
        if atom.weight > MAX_REPEAT {
            return Err(PatternError::RepeatCount);
        }
        Ok(true)
    }
}

impl Group {
    /// Ends the last atom and begins another, or none.
    fn settle(&mut self, next: Option<Atom>) {
        let weight = self.last.as_ref().map_or(0, |atom| atom.weight);
        self.weight = self.weight.max(weight);
        self.last = next;
    }
}

fn counts(input: &mut Cursor<'_>) -> Option<(u32, Option<u32>)> {
    let min = count(input)?;
    let max = if !input.eat(",") {
        Some(min)
    } else if input.0.starts_with('}') {
        None
    } else {
        Some(count(input)?)
    };
    input.eat("}").then_some((min, max))
}

/// A number without leading zeros; one that is too large for the type is too large in any case.
fn count(input: &mut Cursor<'_>) -> Option<u32> {
    let text = input.0;
    let mut length = 0;
    while input.next_if(|c| c.is_ascii_digit()).is_some() {
        length += 1;
    }
    let digits = text.get(..length).filter(|digits| !digits.is_empty())?;
    if length > 1 && digits.starts_with('0') {
        return None;
    }
    Some(digits.parse().unwrap_or(u32::MAX))
}
