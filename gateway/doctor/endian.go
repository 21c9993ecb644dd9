package doctor

import "encoding/binary"

// littleEndian is the order of this machine's words.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1
