//! Reading Go's regular expression syntax: characters, escapes and bracket classes.
//!
//! Follows `parseEscape`, `parseClass` and `parseUnicodeClass` of Go's `regexp/syntax`.

use super::{PatternError, class::AsciiSet};

/// What is left of an expression.
#[derive(Clone)]
pub(super) struct Cursor<'a>(pub(super) &'a str);

impl<'a> Cursor<'a> {
    pub(super) fn peek(&self) -> Option<char> {
        self.0.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let mut rest = self.0.chars();
        let next = rest.next();
        self.0 = rest.as_str();
        next
    }

    pub(super) fn next_if(&mut self, test: impl Fn(char) -> bool) -> Option<char> {
        let next = self.peek().filter(|c| test(*c))?;
        self.next();
        Some(next)
    }

    /// Takes the prefix if it is there.
    pub(super) fn eat(&mut self, prefix: &str) -> bool {
        let rest = self.0.strip_prefix(prefix);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Takes everything up to and including `end`, and returns what came before it.
    pub(super) fn until(&mut self, end: &str) -> Option<&'a str> {
        let (before, rest) = self.0.split_once(end)?;
        self.0 = rest;
        Some(before)
    }

    /// What follows a backslash that means one character.
    pub(super) fn escape(&mut self) -> Result<u32, PatternError> {
        let c = self.next().ok_or(PatternError::Escape)?;
        match c {
            '1'..='7' if !self.peek().is_some_and(is_octal) => Err(PatternError::Escape),
            '0'..='7' => {
                let mut code = digit(c, 8)?;
                for _ in 0..2 {
                    let Some(next) = self.next_if(is_octal) else {
                        break;
                    };
                    code = code * 8 + digit(next, 8)?;
                }
                Ok(code)
            }
            'x' => self.hexadecimal(),
            'a' => Ok(0x07),
            'f' => Ok(0x0c),
            'n' => Ok(0x0a),
            'r' => Ok(0x0d),
            't' => Ok(0x09),
            'v' => Ok(0x0b),
            _ if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c.into()),
            _ => Err(PatternError::Escape),
        }
    }

    fn hexadecimal(&mut self) -> Result<u32, PatternError> {
        let mut next = || self.next().ok_or(PatternError::Escape);
        let first = next()?;
        if first != '{' {
            return Ok(digit(first, 16)? * 16 + digit(next()?, 16)?);
        }
        let mut code = digit(next()?, 16)?;
        loop {
            match next()? {
                '}' => return Ok(code),
                c => code = code * 16 + digit(c, 16)?,
            }
            if code > u32::from(char::MAX) {
                return Err(PatternError::Escape);
            }
        }
    }

    /// What follows a backslash that means a class, such as `d` or `pL`; nothing is taken if it does not.
    pub(super) fn class_escape(&mut self, fold: bool) -> Result<Option<AsciiSet>, PatternError> {
        if let Some(letter) = self.next_if(|c| matches!(c, 'p' | 'P')) {
            return self.unicode_class(letter == 'P', fold).map(Some);
        }
        let set = self.peek().and_then(AsciiSet::perl);
        if set.is_some() {
            self.next();
        }
        Ok(set)
    }

    fn unicode_class(&mut self, negated: bool, fold: bool) -> Result<AsciiSet, PatternError> {
        let mut single = [0; 4];
        let name = if self.eat("{") {
            self.until("}").ok_or(PatternError::Class)?
        } else {
            self.next()
                .ok_or(PatternError::Class)?
                .encode_utf8(&mut single)
        };
        let (name, inverted) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let set = AsciiSet::unicode(name).ok_or(PatternError::Class)?;
        let set = if fold { set.fold() } else { set };
        Ok(set.negated_if(negated != inverted))
    }

    /// A bracket class; the opening bracket has been taken.
    pub(super) fn bracket_class(&mut self, fold: bool) -> Result<AsciiSet, PatternError> {
        let negated = self.eat("^");
        let mut set = AsciiSet::EMPTY;
        // A bracket that closes is an ordinary character when it comes first.
        let mut first = true;
        while first || !self.eat("]") {
            first = false;
            set = set.union(self.class_item(fold)?);
        }
        Ok(set.negated_if(negated))
    }

    fn class_item(&mut self, fold: bool) -> Result<AsciiSet, PatternError> {
        if let Some(set) = self.posix_class(fold)? {
            return Ok(set);
        }
        let mut ahead = self.clone();
        if ahead.eat(r"\")
            && let Some(set) = ahead.class_escape(fold)?
        {
            *self = ahead;
            return Ok(set);
        }
        let low = self.class_character()?;
        let mut high = low;
        if self.0.starts_with('-') && !self.0.starts_with("-]") {
            self.next();
            high = self.class_character()?;
        }
        if high < low {
            return Err(PatternError::Class);
        }
        Ok(AsciiSet::range(low, high, fold))
    }

    fn posix_class(&mut self, fold: bool) -> Result<Option<AsciiSet>, PatternError> {
        let mut ahead = self.clone();
        if !ahead.eat("[:") {
            return Ok(None);
        }
        let Some(name) = ahead.until(":]") else {
            return Ok(None);
        };
        let (name, negated) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let set = AsciiSet::posix(name).ok_or(PatternError::Class)?;
        let set = if fold { set.fold() } else { set };
        *self = ahead;
        Ok(Some(set.negated_if(negated)))
    }

    fn class_character(&mut self) -> Result<u32, PatternError> {
        match self.next().ok_or(PatternError::Bracket)? {
            '\\' => self.escape(),
            c => Ok(c.into()),
        }
    }
}

fn is_octal(c: char) -> bool {
    c.is_digit(8)
}

fn digit(c: char, radix: u32) -> Result<u32, PatternError> {
    c.to_digit(radix).ok_or(PatternError::Escape)
}
