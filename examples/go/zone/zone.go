// Package zone tells what time it is elsewhere.
package zone

import (
	"fmt"
	"time"
	_ "time/tzdata" // the final image has no /usr/share/zoneinfo
)

// In returns the moment as a clock in the named IANA time zone shows it.
func In(moment time.Time, name string) (string, error) {
	place, err := time.LoadLocation(name)
	if err != nil {
		return "", fmt.Errorf("unknown time zone %q", name)
	}
	return moment.In(place).Format("2006-01-02 15:04 MST"), nil
}
