//! File names, packed one after the other in pieces. A piece is dropped with its last name.

use std::ffi::CStr;

/// The size of a piece in bytes; a longer name gets a piece of its own.
const PIECE: usize = 1 << 14;

/// The bits of a number that hold the offset of a name in its piece.
const OFFSET_BITS: u32 = 14;

#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    live: u32,
}

/// Names, by number.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pieces: Vec<Option<Piece>>,
    free: Vec<u32>,
    /// The piece that is being filled.
    current: Option<u32>,
}

impl Names {
    /// Keeps a name; none when there are too many.
    pub(crate) fn keep(&mut self, name: &CStr) -> Option<u32> {
        let bytes = name.to_bytes_with_nul();
        let fits = |piece: &Piece| piece.bytes.len() + bytes.len() <= PIECE;
        let number = match self.current.filter(|current| self.piece(*current).is_some_and(fits)) {
            Some(current) => current,
            None => self.begin_piece()?,
        };
        let piece = self.pieces.get_mut(number as usize)?.as_mut()?;
        let offset = piece.bytes.len() as u32;
        piece.bytes.extend_from_slice(bytes);
        piece.live += 1;
        Some(number << OFFSET_BITS | offset)
    }

    /// The name of a number.
    pub(crate) fn get(&self, number: u32) -> Option<&CStr> {
        let piece = self.piece(number >> OFFSET_BITS)?;
        CStr::from_bytes_until_nul(piece.bytes.get(offset(number)..)?).ok()
    }

    /// Releases a name.
    pub(crate) fn release(&mut self, number: u32) {
        let at = number >> OFFSET_BITS;
        let Some(place) = self.pieces.get_mut(at as usize) else { return };
        let Some(piece) = place else { return };
        piece.live -= 1;
        if piece.live == 0 {
            if self.current == Some(at) {
                piece.bytes.clear();
            } else {
                *place = None;
                self.free.push(at);
            }
        }
    }

    fn piece(&self, at: u32) -> Option<&Piece> {
        self.pieces.get(at as usize)?.as_ref()
    }

    fn begin_piece(&mut self) -> Option<u32> {
        // The last current piece may be empty by now.
        if let Some(last) = self.current.take()
            && self.piece(last).is_some_and(|piece| piece.live == 0)
        {
            if let Some(place) = self.pieces.get_mut(last as usize) {
                *place = None;
            }
            self.free.push(last);
        }
        let number = match self.free.pop() {
            Some(number) => number,
            None => u32::try_from(self.pieces.len()).ok().filter(|at| at >> (32 - OFFSET_BITS) == 0)?,
        };
        let piece = Some(Piece { bytes: Vec::with_capacity(PIECE), live: 0 });
        match self.pieces.get_mut(number as usize) {
            Some(place) => *place = piece,
            None => self.pieces.push(piece),
        }
        self.current = Some(number);
        Some(number)
    }
}

fn offset(number: u32) -> usize {
    number as usize & (PIECE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::ffi::CString;

    fn name(number: usize) -> CString {
        CString::new(format!("{number}{}", "x".repeat(number % 250))).unwrap()
    }

    #[test]
    fn every_name_is_found_until_it_is_let_go_and_its_room_is_used_again() {
        const AT_ONCE: usize = 1000;
        let mut names = Names::default();
        let mut kept = VecDeque::new();
        for number in 0..200_000 {
            kept.push_back((number, names.keep(&name(number)).unwrap()));
            if kept.len() > AT_ONCE {
                let (number, at) = kept.pop_front().unwrap();
                assert_eq!(names.get(at), Some(name(number).as_c_str()));
                names.release(at);
            }
        }
        for (number, at) in kept {
            assert_eq!(names.get(at), Some(name(number).as_c_str()));
            names.release(at);
        }
        assert!(names.pieces.len() < 2 * AT_ONCE * 256 / PIECE, "{} pieces", names.pieces.len());
        assert!(names.pieces.iter().flatten().count() <= 1);
    }

    #[test]
    fn a_name_may_be_longer_than_a_piece_and_empty() {
        let mut names = Names::default();
        let long = CString::new("x".repeat(3 * PIECE)).unwrap();
        let numbers: Vec<u32> = [&long, c"", &long, c"a"].map(|name| names.keep(name).unwrap()).into();
        assert_eq!(
            numbers.iter().map(|at| names.get(*at).unwrap().count_bytes()).collect::<Vec<_>>(),
            [3 * PIECE, 0, 3 * PIECE, 1]
        );
    }
}
