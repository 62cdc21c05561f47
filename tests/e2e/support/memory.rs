//! Looking for bytes in the memory of a process.

use std::{fs, fs::File, os::unix::fs::FileExt};

use regex::bytes::Regex;

const CHUNK: usize = 1024 * 1024;
/// No needle is longer, so that none is missed between two chunks.
const OVERLAP: usize = 4096;

/// Where in the readable memory of a process any of `needles` is: the needle and the region.
pub fn find(pid: u32, needles: &[String]) -> Vec<String> {
    let any: Vec<_> = needles.iter().map(|needle| regex::escape(needle)).collect();
    let any = Regex::new(&any.join("|")).expect("an expression");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("the right to look");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the process runs");
    let mut found = Vec::new();
    for region in maps.lines() {
        let Some((start, end)) = readable(region) else {
            continue;
        };
        for from in (start..end).step_by(CHUNK - OVERLAP) {
            let length = CHUNK.min(end - from);
            let mut chunk = vec![0; length];
            // Some regions are the kernel's, and some go away meanwhile.
            let read = memory.read_at(&mut chunk, from as u64).unwrap_or_default();
            for hit in any.find_iter(&chunk[..read]) {
                let needle = String::from_utf8_lossy(hit.as_bytes());
                found.push(format!("{needle} at {:x} in {region}", from + hit.start()));
            }
        }
    }
    found
}

/// From where to where a region goes, if it can be read.
fn readable(region: &str) -> Option<(usize, usize)> {
    let mut fields = region.split_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    fields.next()?.starts_with('r').then_some(())?;
    Some((address(start)?, address(end)?))
}
