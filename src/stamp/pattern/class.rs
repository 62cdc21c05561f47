//! Sets of ASCII characters, and the character classes of Go that denote them.

use std::fmt;

/// A set of ASCII characters. Names of sources are ASCII, so the rest of a class cannot matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AsciiSet(u128);

impl AsciiSet {
    pub(super) const EMPTY: Self = Self(0);
    pub(super) const ALL: Self = Self(u128::MAX);

    fn of(test: impl Fn(u8) -> bool) -> Self {
        Self(
            (0..128)
                .filter(|byte| test(*byte))
                .fold(0, |set, byte| set | (1 << byte)),
        )
    }

    /// The ASCII part of a range of code points. Without regard to case (`fold`), two characters
    /// outside ASCII count as letters inside: the Kelvin sign as k and the long s as s.
    pub(super) fn range(low: u32, high: u32, fold: bool) -> Self {
        let set = Self(below(high.saturating_add(1)) & !below(low));
        if !fold {
            return set;
        }
        let within = |code: u32| (low..=high).contains(&code);
        let kelvin = Self::of(|byte| byte == b'k' && within(0x212a));
        let long_s = Self::of(|byte| byte == b's' && within(0x17f));
        set.union(kelvin).union(long_s).fold()
    }

    /// What `.` stands for.
    pub(super) fn dot(newline: bool) -> Self {
        Self::of(|byte| newline || byte != b'\n')
    }

    /// `\d` and its kin, by the letter.
    pub(super) fn perl(letter: char) -> Option<Self> {
        let set = match letter.to_ascii_lowercase() {
            'd' => Self::of(|byte| byte.is_ascii_digit()),
            's' => Self::of(|byte| b"\t\n\x0c\r ".contains(&byte)),
            'w' => Self::of(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            _ => return None,
        };
        Some(set.negated_if(letter.is_ascii_uppercase()))
    }

    /// `[:alpha:]` and its kin, by the name.
    pub(super) fn posix(name: &str) -> Option<Self> {
        Some(match name {
            "alnum" => Self::of(|byte| byte.is_ascii_alphanumeric()),
            "alpha" => Self::of(|byte| byte.is_ascii_alphabetic()),
            "ascii" => Self::ALL,
            "blank" => Self::of(|byte| byte == b'\t' || byte == b' '),
            "cntrl" => Self::of(|byte| byte.is_ascii_control()),
            "digit" => Self::of(|byte| byte.is_ascii_digit()),
            "graph" => Self::of(|byte| byte.is_ascii_graphic()),
            "lower" => Self::of(|byte| byte.is_ascii_lowercase()),
            "print" => Self::of(|byte| byte.is_ascii_graphic() || byte == b' '),
            "punct" => Self::of(|byte| byte.is_ascii_punctuation()),
            "space" => Self::of(|byte| b"\t\n\x0b\x0c\r ".contains(&byte)),
            "upper" => Self::of(|byte| byte.is_ascii_uppercase()),
            "word" => Self::of(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            "xdigit" => Self::of(|byte| byte.is_ascii_hexdigit()),
            _ => return None,
        })
    }

    /// `\pL` and its kin, by the name: the general categories, and the scripts that ASCII is in.
    pub(super) fn unicode(name: &str) -> Option<Self> {
        let members = |members: &'static [u8]| Self::of(|byte| members.contains(&byte));
        let symbols = members(b"$+<=>^`|~");
        let name: String = name
            .chars()
            .filter(|c| !matches!(c, '_' | '-' | ' '))
            .collect();
        Some(match name.to_ascii_lowercase().as_str() {
            "any" | "ascii" | "assigned" => Self::ALL,
            "l" | "lc" | "latin" | "letter" => Self::of(|byte| byte.is_ascii_alphabetic()),
            "common" => Self::of(|byte| !byte.is_ascii_alphabetic()),
            "lu" | "uppercaseletter" => Self::of(|byte| byte.is_ascii_uppercase()),
            "ll" | "lowercaseletter" => Self::of(|byte| byte.is_ascii_lowercase()),
            "n" | "nd" | "number" | "digit" => Self::of(|byte| byte.is_ascii_digit()),
            "s" | "symbol" => symbols,
            "sc" => members(b"$"),
            "sk" => members(b"^`"),
            "sm" => members(b"+<=>|~"),
            "p" | "punct" | "punctuation" => {
                Self(Self::of(|byte| byte.is_ascii_punctuation()).0 & !symbols.0)
            }
            "pc" => members(b"_"),
            "pd" => members(b"-"),
            "ps" => members(b"([{"),
            "pe" => members(b")]}"),
            "po" => members(b"!\"#%&'*,./:;?@\\"),
            "z" | "zs" => members(b" "),
            "c" | "cc" => Self::of(|byte| byte.is_ascii_control()),
            "lt" | "lm" | "lo" | "m" | "mn" | "mc" | "me" | "nl" | "no" | "so" | "pi" | "pf"
            | "zl" | "zp" | "cf" | "co" | "cs" | "cn" => Self::EMPTY,
            _ => return None,
        })
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The set with the other case of its letters.
    pub(super) fn fold(self) -> Self {
        Self::of(|byte| {
            self.contains(byte.to_ascii_lowercase()) || self.contains(byte.to_ascii_uppercase())
        })
    }

    pub(super) fn negated_if(self, negated: bool) -> Self {
        if negated { Self(!self.0) } else { self }
    }

    fn contains(self, byte: u8) -> bool {
        self.0 >> byte & 1 == 1
    }
}

/// As a character or a class of the `regex` crate with Unicode off.
impl fmt::Display for AsciiSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::EMPTY {
            return f.write_str(r"[^\x00-\xFF]");
        }
        if self.0.is_power_of_two() {
            return write!(f, r"\x{:02X}", self.0.trailing_zeros());
        }
        f.write_str("[")?;
        let mut rest = self.0;
        while rest != 0 {
            let low = rest.trailing_zeros();
            let end = low + (rest >> low).trailing_ones();
            write!(f, r"\x{low:02X}-\x{:02X}", end - 1)?;
            rest &= !below(end);
        }
        f.write_str("]")
    }
}

/// The bits of all characters before `end`.
fn below(end: u32) -> u128 {
    1_u128.checked_shl(end).map_or(u128::MAX, |bit| bit - 1)
}
