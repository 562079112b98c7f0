"""Random valid specs, each judged by the squares of `nlc verify`: what is drawn, how it is judged, how a failure is made small."""
