//! The Arm build attributes ("Addenda to, and Errata in, the ABI for the Arm Architecture"), one fact of them.

const TAG_FILE: u8 = 1;
const TAG_CPU_RAW_NAME: u64 = 4;
const TAG_CPU_NAME: u64 = 5;
const TAG_CPU_ARCH_PROFILE: u64 = 7;
const TAG_COMPATIBILITY: u64 = 32;

/// The value of Tag_CPU_arch_profile in a section `.ARM.attributes`: `A`, `R` or `M`. None where it is not stated
/// or cannot be read.
pub(super) fn architecture_profile(section: &[u8]) -> Option<u8> {
    // 'A', the length of the subsection, its vendor, then the attributes of the whole file.
    let mut rest = section.strip_prefix(b"A")?.get(4..)?.strip_prefix(b"aeabi\0")?;
    rest = rest.strip_prefix(&[TAG_FILE])?.get(4..)?;
    loop {
        let tag = uleb128(&mut rest)?;
        match tag {
            TAG_CPU_ARCH_PROFILE => return u8::try_from(uleb128(&mut rest)?).ok(),
            TAG_CPU_RAW_NAME | TAG_CPU_NAME => skip_string(&mut rest)?,
            TAG_COMPATIBILITY => {
                uleb128(&mut rest)?;
                skip_string(&mut rest)?;
            }
            // Above 32, odd tags have strings and even ones numbers, so that readers can skip what is new.
            tag if tag > 32 && tag % 2 == 1 => skip_string(&mut rest)?,
            _ => {
                uleb128(&mut rest)?;
            }
        }
    }
}

fn uleb128(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn skip_string(rest: &mut &[u8]) -> Option<()> {
    let end = rest.iter().position(|&byte| byte == 0)?;
    *rest = &rest[end + 1..];
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_profile_behind_other_attributes() {
        // CPU_name "7-M", CPU_arch 10, an unknown odd tag 67 with a string, then the profile.
        let section = b"A\x1f\0\0\0aeabi\0\x01\x15\0\0\0\x057-M\0\x06\x0a\x43v2\0\x07M\x08\x01";
        assert_eq!(architecture_profile(section), Some(b'M'));
        for end in 0..section.len() - 3 {
            assert_eq!(architecture_profile(&section[..end]), None, "cut at {end}");
        }
        assert_eq!(architecture_profile(b"A\0\0\0\0gnu\0"), None);
    }
}
