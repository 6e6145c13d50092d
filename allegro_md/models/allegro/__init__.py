"""The Allegro network in torch: parameters of both published forms, and their evaluation in float64 or float32."""
