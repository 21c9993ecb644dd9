package adapters

import (
	"errors"

	"packetboat/adapters/frame"
	"packetboat/config"
)

// framingOf makes the Framing that a [serial.frame] or [tcp.frame] says. Its
// error is a *KeyError.
func framingOf(cfg *config.Frame) (frame.Framing, error) {
	f := bareFraming(cfg)
	if f == nil {
		return nil, &KeyError{"frame.type", errors.New("is none that there is")}
	}
	if cfg.CRC != "" {
		f = frame.Checked{Of: f, Sum: sumOf(cfg.CRC)}
	}
	err := f.Check()
	var wrong *frame.ParamError
	if errors.As(err, &wrong) {
		return nil, &KeyError{"frame." + wrong.Param, errors.New(wrong.Problem)}
	}
	if err != nil {
		return nil, &KeyError{"frame", err}
	}
	return f, nil
}

// bareFraming is the framing without check sum; nil: there is none of that type.
func bareFraming(cfg *config.Frame) frame.Framing {
	most := int(cfg.Max)
	switch cfg.Type {
	case "line":
		return frame.Line{Ending: string(cfg.Ending), Trim: cfg.Trim, Max: most}
	case "delimiter":
		return frame.Delimiter{Bytes: string(cfg.Bytes), Max: most}
	case "fixed":
		return frame.Fixed{Size: cfg.Size, FlushAfter: cfg.FlushAfter, Max: most}
	case "length":
		return frame.Length{
			Offset:         cfg.Offset,
			Size:           cfg.Size,
			Little:         cfg.Order == "little",
			IncludesHeader: cfg.IncludesHeader,
			Header:         cfg.Header,
			FlushAfter:     cfg.FlushAfter,
			Max:            most,
		}
	case "start-end":
		return frame.StartEnd{
			Start:      string(cfg.Start),
			End:        string(cfg.End),
			Escape:     string(cfg.Escape),
			FlushAfter: cfg.FlushAfter,
			Max:        most,
		}
	case "slip":
		return frame.SLIP{Max: most}
	case "cobs":
		return frame.COBS{Max: most}
	case "idle":
		return frame.Idle{Gap: cfg.Gap, Max: most}
	case "modbus-rtu":
		return frame.ModbusRTU{Gap: cfg.Gap}
	}
	return nil
}

// sumOf is the check sum of that name.
func sumOf(name string) frame.Sum {
	switch name {
	case "crc16-modbus":
		return frame.CRC16Modbus
	case "crc16-ccitt":
		return frame.CRC16CCITT
	case "crc32":
		return frame.CRC32
	case "xor":
		return frame.XOR
	case "sum":
		return frame.Sum8
	}
	return frame.NoSum
}
